pragma circom 2.0.0;

include "poseidon_constants.circom";

template FifthPower() {
    signal input in;
    signal output out;
    signal square <== in * in;
    signal fourth <== square * square;
    out <== fourth * in;
}

// The Poseidon hash of two numbers: 8 full and 57 partial rounds on three words.
template Poseidon2() {
    signal input in[2];
    signal output out;
    var constants[195] = poseidon_round_constants();
    var matrix[9] = poseidon_matrix();

    signal state[66][3];
    component power[65][3];
    state[0] <== [0, in[0], in[1]];
    for (var round = 0; round < 65; round++) {
        var full = round < 4 || round >= 61;
        var mixed[3] = [0, 0, 0];
        for (var word = 0; word < 3; word++) {
            var value = state[round][word] + constants[3 * round + word];
            if (full || word == 0) {
                power[round][word] = FifthPower();
                power[round][word].in <== value;
                value = power[round][word].out;
            }
            for (var to = 0; to < 3; to++) {
                mixed[to] += matrix[3 * to + word] * value;
            }
        }
        state[round + 1] <== mixed;
    }
    out <== state[65][0];
}

// A secret leaf is in the Merkle tree of Poseidon hashes with this root.
template MerklePath(depth) {
    signal input leaf;
    signal input siblings[depth];
    signal input sides[depth];
    signal input ctx;
    signal output root;

    signal nodes[depth + 1];
    signal shift[depth];
    component hash[depth];
    nodes[0] <== leaf;
    for (var level = 0; level < depth; level++) {
        // The side is 1 where the node is its parent's right child.
        sides[level] * (sides[level] - 1) === 0;
        shift[level] <== sides[level] * (siblings[level] - nodes[level]);
        hash[level] = Poseidon2();
        hash[level].in[0] <== nodes[level] + shift[level];
        hash[level].in[1] <== siblings[level] - shift[level];
        nodes[level + 1] <== hash[level].out;
    }
    root <== nodes[depth];

    // Ties a proof to the slice that it was made for; outputs never depend on it.
    signal tied <== ctx * ctx;
}

component main {public [ctx]} = MerklePath(16);
