pragma circom 2.0.0;

// SHA-256 of a secret message of less than 56 bytes, in its one padded block. Words are arrays of bits, the lowest first.

function sha256_start() {
    return [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
}

function sha256_constants() {
    return [
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
    ];
}

// The lowest 32 bits of a sum that is below 2^(32 + carry).
template LowWord(carry) {
    signal input in;
    signal output out[32];
    signal high[carry];
    var sum = 0;
    var power = 1;
    for (var i = 0; i < 32; i++) {
        out[i] <-- (in & power) != 0 ? 1 : 0;
        out[i] * (out[i] - 1) === 0;
        sum += out[i] * power;
        power += power;
    }
    for (var i = 0; i < carry; i++) {
        high[i] <-- (in & power) != 0 ? 1 : 0;
        high[i] * (high[i] - 1) === 0;
        sum += high[i] * power;
        power += power;
    }
    sum === in;
}

// The exclusive or of three rotations of a word, the last of them a shift where asked for; as a number.
template Sigma(first, second, third, shifts) {
    signal input in[32];
    signal output out;
    signal pair[32];
    signal pairs[32];
    signal all[32];
    var sum = 0;
    var power = 1;
    for (var i = 0; i < 32; i++) {
        var a = in[(i + first) % 32];
        var b = in[(i + second) % 32];
        pair[i] <== a * b;
        pairs[i] <== a + b - 2 * pair[i];
        if (shifts && i + third >= 32) {
            all[i] <== pairs[i];
        } else {
            all[i] <== pairs[i] + in[(i + third) % 32] - 2 * pairs[i] * in[(i + third) % 32];
        }
        sum += all[i] * power;
        power += power;
    }
    out <== sum;
}

// Each bit of b where that of a is 1, else that of c; as a number.
template Choose() {
    signal input a[32];
    signal input b[32];
    signal input c[32];
    signal output out;
    signal moved[32];
    var sum = 0;
    var power = 1;
    for (var i = 0; i < 32; i++) {
        moved[i] <== a[i] * (b[i] - c[i]);
        sum += (moved[i] + c[i]) * power;
        power += power;
    }
    out <== sum;
}

// Each bit as most of the three words have it; as a number.
template Majority() {
    signal input a[32];
    signal input b[32];
    signal input c[32];
    signal output out;
    signal both[32];
    signal most[32];
    var sum = 0;
    var power = 1;
    for (var i = 0; i < 32; i++) {
        both[i] <== b[i] * c[i];
        most[i] <== a[i] * (b[i] + c[i] - 2 * both[i]);
        sum += (most[i] + both[i]) * power;
        power += power;
    }
    out <== sum;
}

template Number() {
    signal input in[32];
    signal output out;
    var sum = 0;
    var power = 1;
    for (var i = 0; i < 32; i++) {
        sum += in[i] * power;
        power += power;
    }
    out <== sum;
}

// The digest of one block of 16 words, as 8 numbers of 32 bits.
template Sha256Block() {
    signal input block[16][32];
    signal output digest[8];
    var start[8] = sha256_start();
    var constants[64] = sha256_constants();

    signal words[64][32];
    signal numbers[64];
    component number[64];
    component small[48][2];
    component extended[48];
    for (var i = 0; i < 64; i++) {
        if (i < 16) {
            words[i] <== block[i];
        } else {
            small[i - 16][0] = Sigma(7, 18, 3, 1);
            small[i - 16][1] = Sigma(17, 19, 10, 1);
            small[i - 16][0].in <== words[i - 15];
            small[i - 16][1].in <== words[i - 2];
            extended[i - 16] = LowWord(2);
            extended[i - 16].in <== numbers[i - 16] + small[i - 16][0].out + numbers[i - 7] + small[i - 16][1].out;
            words[i] <== extended[i - 16].out;
        }
        number[i] = Number();
        number[i].in <== words[i];
        numbers[i] <== number[i].out;
    }

    // a[i + 4] and e[i + 4] are what round i makes of the four before; a[3] down to a[0] start as the words a to d.
    signal a[68][32];
    signal e[68][32];
    for (var i = 0; i < 4; i++) {
        for (var bit = 0; bit < 32; bit++) {
            a[3 - i][bit] <== (start[i] >> bit) & 1;
            e[3 - i][bit] <== (start[4 + i] >> bit) & 1;
        }
    }
    component big[64][2];
    component choose[64];
    component majority[64];
    component old[64][2];
    component next[64][2];
    for (var i = 0; i < 64; i++) {
        big[i][0] = Sigma(2, 13, 22, 0);
        big[i][1] = Sigma(6, 11, 25, 0);
        big[i][0].in <== a[i + 3];
        big[i][1].in <== e[i + 3];
        choose[i] = Choose();
        choose[i].a <== e[i + 3];
        choose[i].b <== e[i + 2];
        choose[i].c <== e[i + 1];
        majority[i] = Majority();
        majority[i].a <== a[i + 3];
        majority[i].b <== a[i + 2];
        majority[i].c <== a[i + 1];
        old[i][0] = Number();
        old[i][1] = Number();
        old[i][0].in <== a[i];
        old[i][1].in <== e[i];
        var first = old[i][1].out + big[i][1].out + choose[i].out + constants[i] + numbers[i];
        next[i][0] = LowWord(3);
        next[i][1] = LowWord(3);
        next[i][0].in <== first + big[i][0].out + majority[i].out;
        next[i][1].in <== first + old[i][0].out;
        a[i + 4] <== next[i][0].out;
        e[i + 4] <== next[i][1].out;
    }

    component end[8];
    component sum[8];
    component word[8];
    for (var i = 0; i < 8; i++) {
        end[i] = Number();
        if (i < 4) {
            end[i].in <== a[67 - i];
        } else {
            end[i].in <== e[71 - i];
        }
        sum[i] = LowWord(1);
        sum[i].in <== end[i].out + start[i];
        word[i] = Number();
        word[i].in <== sum[i].out;
        digest[i] <== word[i].out;
    }
}

// Of 64 secret bytes, which whoever proves has padded, the digest as two numbers of 128 bits, the first half first.
template Sha256OfBlock() {
    signal input message[64];
    signal input ctx;
    signal output digest[2];

    component hash = Sha256Block();
    signal bits[64][8];
    for (var at = 0; at < 64; at++) {
        var sum = 0;
        var power = 1;
        for (var i = 0; i < 8; i++) {
            bits[at][i] <-- (message[at] & power) != 0 ? 1 : 0;
            bits[at][i] * (bits[at][i] - 1) === 0;
            sum += bits[at][i] * power;
            power += power;
            hash.block[at \ 4][8 * (3 - at % 4) + i] <== bits[at][i];
        }
        sum === message[at];
    }
    for (var half = 0; half < 2; half++) {
        var sum = 0;
        for (var i = 0; i < 4; i++) {
            sum = 2 ** 32 * sum + hash.digest[4 * half + i];
        }
        digest[half] <== sum;
    }

    // Ties a proof to the slice that it was made for; outputs never depend on it.
    signal tied <== ctx * ctx;
}

component main {public [ctx]} = Sha256OfBlock();
