// One proof without Python, for machines of another kind: a key, a witness and blinders from the input, the proof's
// 256 bytes to the output. Parts stand as `tb_proving_key_new` takes them, after four u64: wires, public wires, power
// of the domain, entries of the matrices.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

extern "C" {
struct ProvingKey;
ProvingKey *tb_proving_key_new(size_t wires, size_t publics, int power, const void *fixed, const void *coefficients,
                               size_t count, const void *a, const void *b1, const void *b2, const void *c, const void *h);
int tb_prove(const ProvingKey *key, const void *witness, const void *r, const void *s, void *out);
}

static std::vector<uint8_t> take(size_t size) {
    std::vector<uint8_t> data(size);
    data.resize(fread(data.data(), 1, size, stdin));
    return data;
}

int main() {
    uint64_t sizes[4];
    if (fread(sizes, sizeof sizes, 1, stdin) != 1) return 1;
    const size_t wires = sizes[0], publics = sizes[1], power = sizes[2], count = sizes[3];
    const auto fixed = take(3 * 64 + 2 * 128), entries = take(count * 44), a = take(wires * 64), b1 = take(wires * 64),
               b2 = take(wires * 128), c = take((wires - publics - 1) * 64), h = take((size_t)64 << power),
               witness = take(wires * 32), r = take(32), s = take(32);
    ProvingKey *key = tb_proving_key_new(wires, publics, (int)power, fixed.data(), entries.data(), count, a.data(),
                                         b1.data(), b2.data(), c.data(), h.data());
    uint8_t proof[256];
    if (!key || tb_prove(key, witness.data(), r.data(), s.data(), proof) != 0) return 2;
    return fwrite(proof, sizeof proof, 1, stdout) == 1 ? 0 : 3;
}
