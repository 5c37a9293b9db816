"""ML-KEM-768 (FIPS 203) as far as the vectors need it: keys from a seed, encapsulation from `m`,
decapsulation. For checking published values only: it is slow, and nothing in it is constant-time.
"""

import hashlib

Q, K, ETA, DU, DV = 3329, 3, 2, 10, 4


def bit_reverse(n):
    return int(f"{n:07b}"[::-1], 2)


ZETAS = [pow(17, bit_reverse(i), Q) for i in range(128)]
GAMMAS = [pow(17, 2 * bit_reverse(i) + 1, Q) for i in range(128)]


def ntt(f):
    f, i, length = list(f), 1, 128
    while length >= 2:
        for start in range(0, 256, 2 * length):
            zeta, i = ZETAS[i], i + 1
            for j in range(start, start + length):
                t = zeta * f[j + length] % Q
                f[j + length], f[j] = (f[j] - t) % Q, (f[j] + t) % Q
        length //= 2
    return f


def inverse_ntt(f):
    f, i, length = list(f), 127, 2
    while length <= 128:
        for start in range(0, 256, 2 * length):
            zeta, i = ZETAS[i], i - 1
            for j in range(start, start + length):
                t = f[j]
                f[j] = (t + f[j + length]) % Q
                f[j + length] = zeta * (f[j + length] - t) % Q
        length *= 2
    return [x * 3303 % Q for x in f]


def multiply(f, g):
    out = []
    for i in range(128):
        a, b, c, d = f[2 * i], f[2 * i + 1], g[2 * i], g[2 * i + 1]
        out += [(a * c + b * d * GAMMAS[i]) % Q, (a * d + b * c) % Q]
    return out


def add(f, g):
    return [(a + b) % Q for a, b in zip(f, g)]


def dot(u, v):
    total = [0] * 256
    for f, g in zip(u, v):
        total = add(total, multiply(f, g))
    return total


def encode(f, d):
    bits = sum((x & ((1 << d) - 1)) << (d * i) for i, x in enumerate(f))
    return bits.to_bytes(32 * d, "little")


def decode(data, d):
    bits = int.from_bytes(data, "little")
    return [bits >> (d * i) & ((1 << d) - 1) for i in range(256)]


def compress(f, d):
    return [((x << d) + Q // 2) // Q % (1 << d) for x in f]


def decompress(f, d):
    return [(x * Q + (1 << (d - 1))) >> d for x in f]


def sample_ntt(rho, j, i):
    stream, out, at = hashlib.shake_128(rho + bytes([j, i])).digest(168 * 12), [], 0
    while len(out) < 256:
        a, b, c = stream[at : at + 3]
        at += 3
        for x in (a + 256 * (b % 16), b // 16 + 16 * c):
            if x < Q and len(out) < 256:
                out.append(x)
    return out


def sample_cbd(seed, n):
    bits = int.from_bytes(hashlib.shake_256(seed + bytes([n])).digest(64 * ETA), "little")
    take = lambda at: bin(bits >> at & ((1 << ETA) - 1)).count("1")
    return [(take(2 * ETA * i) - take(2 * ETA * i + ETA)) % Q for i in range(256)]


def matrix(rho):
    return [[sample_ntt(rho, j, i) for j in range(K)] for i in range(K)]


def g(data):
    digest = hashlib.sha3_512(data).digest()
    return digest[:32], digest[32:]


def keys(d):
    """Encapsulation key and the secret vector of the 32-byte seed `d`."""
    rho, sigma = g(d + bytes([K]))
    a = matrix(rho)
    s = [ntt(sample_cbd(sigma, n)) for n in range(K)]
    e = [ntt(sample_cbd(sigma, K + n)) for n in range(K)]
    t = [add(dot(row, s), noise) for row, noise in zip(a, e)]
    return b"".join(encode(f, 12) for f in t) + rho, s


def encrypt(ek, m, r):
    t, rho = [decode(ek[384 * i : 384 * (i + 1)], 12) for i in range(K)], ek[384 * K :]
    a = matrix(rho)
    y = [ntt(sample_cbd(r, n)) for n in range(K)]
    e1 = [sample_cbd(r, K + n) for n in range(K)]
    e2 = sample_cbd(r, 2 * K)
    columns = [[a[j][i] for j in range(K)] for i in range(K)]
    u = [add(inverse_ntt(dot(column, y)), noise) for column, noise in zip(columns, e1)]
    v = add(add(inverse_ntt(dot(t, y)), e2), decompress(decode(m, 1), 1))
    return b"".join(encode(compress(f, DU), DU) for f in u) + encode(compress(v, DV), DV)


def encapsulate(ek, m):
    """Ciphertext and shared secret."""
    shared, r = g(m + hashlib.sha3_256(ek).digest())
    return encrypt(ek, m, r), shared


def decapsulate(seed, c):
    """The shared secret that a ciphertext holds for the 64-byte seed `d || z`."""
    ek, s = keys(seed[:32])
    u = [decompress(decode(c[320 * i : 320 * (i + 1)], DU), DU) for i in range(K)]
    v = decompress(decode(c[320 * K :], DV), DV)
    w = [(a - b) % Q for a, b in zip(v, inverse_ntt(dot(s, [ntt(f) for f in u])))]
    m = encode(compress(w, 1), 1)
    shared, r = g(m + hashlib.sha3_256(ek).digest())
    if encrypt(ek, m, r) != c:
        return hashlib.shake_256(seed[32:] + c).digest(32)
    return shared
