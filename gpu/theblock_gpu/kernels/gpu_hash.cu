// The workload gpu_hash: digests of consecutive messages, and the BLAKE3 tree over them.
//
// One source, two compilers: NVRTC makes device kernels of it, a C++ compiler the host's back end. The definition
// of every byte is theblock_node.core.proofs.gpu_hash. Hashes lie as eight little-endian 32-bit words each, which
// is their byte order on every machine that we run on.
//
// Every kernel does the items `first` to `last - 1`, so that the host can cut its work into ranges.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifdef __CUDACC__
#define INLINE static __device__ __forceinline__
#define KERNEL extern "C" __global__ void __launch_bounds__(256)
#define TABLE static __device__ __constant__ const
#define EACH(item) \
    for (u64 item = first + (u64)blockIdx.x * blockDim.x + threadIdx.x; item < last; \
         item += (u64)gridDim.x * blockDim.x)
#define UNROLL _Pragma("unroll")
#else
#define INLINE static inline
#define KERNEL extern "C" void
#define TABLE static const
#define EACH(item) for (u64 item = first; item < last; ++item)
#define UNROLL
#endif

INLINE u32 rotate(u32 x, int by) { return (x >> by) | (x << (32 - by)); }
INLINE u32 swap(u32 x) { return (x >> 24) | ((x >> 8) & 0xff00u) | ((x << 8) & 0xff0000u) | (x << 24); }

// BLAKE3, for inputs of one chunk.

enum { CHUNK_START = 1, CHUNK_END = 2, ROOT = 8 };

TABLE u32 BLAKE3_IV[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};

#define MIX(a, b, c, d, x, y) \
    v[a] += v[b] + (x); v[d] = rotate(v[d] ^ v[a], 16); v[c] += v[d]; v[b] = rotate(v[b] ^ v[c], 12); \
    v[a] += v[b] + (y); v[d] = rotate(v[d] ^ v[a], 8); v[c] += v[d]; v[b] = rotate(v[b] ^ v[c], 7);

#define ROUND(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15) \
    MIX(0, 4, 8, 12, m[m0], m[m1]) MIX(1, 5, 9, 13, m[m2], m[m3]) \
    MIX(2, 6, 10, 14, m[m4], m[m5]) MIX(3, 7, 11, 15, m[m6], m[m7]) \
    MIX(0, 5, 10, 15, m[m8], m[m9]) MIX(1, 6, 11, 12, m[m10], m[m11]) \
    MIX(2, 7, 8, 13, m[m12], m[m13]) MIX(3, 4, 9, 14, m[m14], m[m15])

// Fold one block of `size` bytes into the chaining value; the block counter of a single chunk is zero.
INLINE void blake3_fold(u32 chain[8], const u32 m[16], u32 size, u32 flags) {
    u32 v[16];
    UNROLL for (int i = 0; i < 8; ++i) v[i] = chain[i];
    UNROLL for (int i = 0; i < 4; ++i) v[8 + i] = BLAKE3_IV[i];
    v[12] = 0; v[13] = 0; v[14] = size; v[15] = flags;
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    ROUND(2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
    ROUND(3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1)
    ROUND(10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6)
    ROUND(12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4)
    ROUND(9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7)
    ROUND(11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13)
    UNROLL for (int i = 0; i < 8; ++i) chain[i] = v[i] ^ v[i + 8];
}

INLINE void blake3_start(u32 chain[8]) {
    UNROLL for (int i = 0; i < 8; ++i) chain[i] = BLAKE3_IV[i];
}

// SHA-256, for messages of one block.

TABLE u32 SHA256_K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// `w` holds the padded block as big-endian words and is used up.
INLINE void sha256_block(u32 w[16], u32 out[8]) {
    // SHA-256 starts from the same words as BLAKE3.
    u32 a = BLAKE3_IV[0], b = BLAKE3_IV[1], c = BLAKE3_IV[2], d = BLAKE3_IV[3];
    u32 e = BLAKE3_IV[4], f = BLAKE3_IV[5], g = BLAKE3_IV[6], h = BLAKE3_IV[7];
    UNROLL for (int i = 0; i < 64; ++i) {
        if (i >= 16) {
            u32 early = w[(i + 1) & 15], late = w[(i + 14) & 15];
            w[i & 15] += (rotate(early, 7) ^ rotate(early, 18) ^ (early >> 3)) + w[(i + 9) & 15] +
                         (rotate(late, 17) ^ rotate(late, 19) ^ (late >> 10));
        }
        u32 t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + SHA256_K[i] + w[i & 15];
        u32 t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g; g = f; f = e; e = d + t1; d = c; c = b; b = a; a = t1 + t2;
    }
    out[0] = a + BLAKE3_IV[0]; out[1] = b + BLAKE3_IV[1]; out[2] = c + BLAKE3_IV[2]; out[3] = d + BLAKE3_IV[3];
    out[4] = e + BLAKE3_IV[4]; out[5] = f + BLAKE3_IV[5]; out[6] = g + BLAKE3_IV[6]; out[7] = h + BLAKE3_IV[7];
}

// A message is the seed and its number, 40 bytes; `digests` gets that of message `start + i` at place i.

KERNEL hash_blake3(u64 first, u64 last, const u32* seed, u64 start, u32* digests) {
    EACH(i) {
        u32 m[16], chain[8];
        u64 number = start + i;
        UNROLL for (int word = 0; word < 8; ++word) m[word] = seed[word];
        m[8] = (u32)number; m[9] = (u32)(number >> 32);
        UNROLL for (int word = 10; word < 16; ++word) m[word] = 0;
        blake3_start(chain);
        blake3_fold(chain, m, 40, CHUNK_START | CHUNK_END | ROOT);
        UNROLL for (int word = 0; word < 8; ++word) digests[8 * i + word] = chain[word];
    }
}

KERNEL hash_sha256(u64 first, u64 last, const u32* seed, u64 start, u32* digests) {
    EACH(i) {
        u32 w[16], out[8];
        u64 number = start + i;
        UNROLL for (int word = 0; word < 8; ++word) w[word] = swap(seed[word]);
        w[8] = swap((u32)number); w[9] = swap((u32)(number >> 32));
        w[10] = 0x80000000u;
        UNROLL for (int word = 11; word < 15; ++word) w[word] = 0;
        w[15] = 40 * 8;
        sha256_block(w, out);
        UNROLL for (int word = 0; word < 8; ++word) digests[8 * i + word] = swap(out[word]);
    }
}

// Leaves of the tree: the hash of a zero byte and the digest. `leaves` may be `digests`.
KERNEL hash_leaves(u64 first, u64 last, const u32* digests, u32* leaves) {
    EACH(i) {
        u32 m[16], chain[8];
        m[0] = digests[8 * i] << 8;
        UNROLL for (int word = 1; word < 8; ++word) m[word] = (digests[8 * i + word] << 8) | (digests[8 * i + word - 1] >> 24);
        m[8] = digests[8 * i + 7] >> 24;
        UNROLL for (int word = 9; word < 16; ++word) m[word] = 0;
        blake3_start(chain);
        blake3_fold(chain, m, 33, CHUNK_START | CHUNK_END | ROOT);
        UNROLL for (int word = 0; word < 8; ++word) leaves[8 * i + word] = chain[word];
    }
}

// One level up from `below`, which has `count` hashes: the hash of a one byte and both children; 65 bytes, two
// blocks. A last child without a sibling rises as it is.
KERNEL hash_parents(u64 first, u64 last, const u32* below, u64 count, u32* above) {
    EACH(i) {
        const u32* pair = below + 16 * i;
        if (2 * i + 1 == count) {
            UNROLL for (int word = 0; word < 8; ++word) above[8 * i + word] = pair[word];
        } else {
            u32 m[16], chain[8];
            m[0] = (pair[0] << 8) | 1;
            UNROLL for (int word = 1; word < 16; ++word) m[word] = (pair[word] << 8) | (pair[word - 1] >> 24);
            blake3_start(chain);
            blake3_fold(chain, m, 64, CHUNK_START);
            m[0] = pair[15] >> 24;
            UNROLL for (int word = 1; word < 16; ++word) m[word] = 0;
            blake3_fold(chain, m, 1, CHUNK_END | ROOT);
            UNROLL for (int word = 0; word < 8; ++word) above[8 * i + word] = chain[word];
        }
    }
}
