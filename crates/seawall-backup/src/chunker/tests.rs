//! The format pinned by vectors, and every path against the definition.

use proptest::prelude::*;

use super::*;

/// Strips of the tests' places; those of the paths divide it or are divided by it.
const STRIP: usize = 512;

/// The first `n` bytes of BLAKE3's output stream for `seed`.
fn stream(seed: &[u8], n: usize) -> Vec<u8> {
    let mut out = vec![0; n];
    blake3::Hasher::new().update(seed).finalize_xof().fill(&mut out);
    out
}

/// The chunker of one secret on every path of this CPU, the reference last.
fn paths(secret: &[u8; 32]) -> Vec<Chunker> {
    Path::ALL.into_iter().filter_map(|path| Chunker::with_path(secret, path)).collect()
}

/// Length of the first chunk, on which all paths have to agree.
fn cut(chunkers: &[Chunker], data: &[u8]) -> usize {
    let (reference, faster) = chunkers.split_last().expect("the reference is everywhere");
    let expected = reference.cut(data);
    for chunker in faster {
        assert_eq!(chunker.cut(data), expected, "of {} bytes", data.len());
    }
    expected
}

fn cuts(secret: u8, mut data: &[u8]) -> Vec<usize> {
    let chunkers = paths(&[secret; 32]);
    let mut out = Vec::new();
    while !data.is_empty() {
        let n = cut(&chunkers, data);
        out.push(n);
        data = &data[n..];
    }
    out
}

/// The format, pinned: `docs/vectors/chunker.json` is checked by the second implementation.
#[test]
fn golden_cut_points() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/chunker.json");
    let data = stream(b"seawall chunker vector", 8 << 20);
    // A deliberate change of format is written down anew with SEAWALL_BLESS=1.
    if std::env::var_os("SEAWALL_BLESS").is_some() {
        let vector = serde_json::json!({
            "secret": hex::encode([7; 32]), "seed": "seawall chunker vector",
            "stream_bytes": 8 << 20, "lengths": cuts(7, &data),
        });
        let text = serde_json::to_string_pretty(&vector).expect("JSON") + "\n";
        std::fs::write(path, text).expect("written");
    }
    let text = std::fs::read_to_string(path).expect("the vector");
    let vector: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let expected: Vec<usize> = serde_json::from_value(vector["lengths"].clone()).expect("numbers");
    assert_eq!(cuts(7, &data), expected);
}

/// The window's hash straight from its definition.
fn window_hash(r: u64, window: &[u8]) -> u64 {
    let term = |acc: u128, &b: &u8| (acc * u128::from(r) + u128::from(b) + 1) % u128::from(P);
    window.iter().fold(0u128, term) as u64
}

#[test]
fn rolling_equals_the_definition() {
    let chunkers = paths(&[3; 32]);
    let chunker = &chunkers[0];
    let data = stream(b"rolling", MAX);
    let n = cut(&chunkers, &data);
    let expected = (MIN..MAX).find(|&end| {
        let mut block = Array::from([0; 16]);
        let hash = window_hash(chunker.r, &data[end - WINDOW..end]);
        block[..8].copy_from_slice(&hash.to_le_bytes());
        chunker.cipher.encrypt_block(&mut block);
        let value = u64::from_le_bytes(block[..8].try_into().expect("8 bytes"));
        value < if end < NORMAL { STRICT } else { LOOSE }
    });
    assert_eq!(Some(n), expected.or(Some(MAX)));
}

#[test]
fn lengths_keep_their_bounds_and_mean() {
    let data = stream(b"mean", 64 << 20);
    let lengths = cuts(1, &data);
    assert_eq!(lengths.iter().sum::<usize>(), data.len());
    let (last, body) = lengths.split_last().expect("not empty");
    assert!(body.iter().all(|n| (MIN..=MAX).contains(n)) && *last <= MAX);
    let mean = data.len() / lengths.len();
    assert!((400 << 10..800 << 10).contains(&mean), "mean {mean}");
}

#[test]
fn boundaries_move_with_content_and_depend_on_the_secret() {
    let data = stream(b"shift", 16 << 20);
    let mut shifted = b"inserted in front".to_vec();
    shifted.extend_from_slice(&data);
    let ends = |lengths: Vec<usize>| -> std::collections::BTreeSet<usize> {
        lengths
            .iter()
            .scan(0, |at, n| {
                *at += n;
                Some(*at)
            })
            .collect()
    };
    let a = ends(cuts(1, &data));
    let b: std::collections::BTreeSet<_> =
        ends(cuts(1, &shifted)).iter().filter_map(|e| e.checked_sub(17)).collect();
    assert!(a.intersection(&b).count() * 10 >= a.len() * 8, "most boundaries survive");
    let other = ends(cuts(2, &data));
    assert!(a.intersection(&other).count() <= 1, "another secret cuts elsewhere");
}

#[test]
fn short_streams_are_one_chunk() {
    for n in [0, 1, MIN - 1, MIN] {
        assert_eq!(cut(&paths(&[1; 32]), &vec![5; n]), n);
    }
}

/// A window that is a boundary even where the threshold is strict, under the secret `[9; 32]`.
fn strict_window() -> Vec<u8> {
    let chunker = Chunker::new(&[9; 32]);
    for seed in 0..100u8 {
        let data = stream(&[seed], NORMAL);
        let n = chunker.cut(&data);
        if n < NORMAL {
            return data[n - WINDOW..n].to_vec();
        }
    }
    panic!("one stream in six has one");
}

/// One boundary in plain surroundings, at every kind of place: each lane and step of a tile, its
/// edges, both thresholds, and what is too short for a tile.
#[test]
fn a_single_boundary_is_found_wherever_it_stands() {
    let chunkers = paths(&[9; 32]);
    let window = strict_window();
    let tile = 32 * STRIP;
    let near = |at: usize| at - 3..at + 4;
    let mut ends: Vec<usize> = (MIN..MIN + 2 * tile).step_by(1021).chain(MIN..MIN + 20).collect();
    ends.extend((1..=32).flat_map(|lane| near(MIN + lane * STRIP)));
    ends.extend(near(MIN + tile).chain(near(NORMAL)).chain(MAX - 3..MAX));
    for fill in [0, 0xff] {
        let mut data = vec![fill; MAX + 100];
        for &end in &ends {
            data[end - WINDOW..end].copy_from_slice(&window);
            // Much after it, little, and so little that no tile, or only a small one, fits.
            for rest in [1, 600, 5000] {
                let limit = data.len().min(end + rest);
                assert_eq!(cut(&chunkers, &data[..limit]), end, "{rest} bytes behind {end}");
            }
            data[end - WINDOW..end].fill(fill);
        }
    }
}

#[test]
fn the_first_of_several_boundaries_wins() {
    let chunkers = paths(&[9; 32]);
    let window = strict_window();
    // Lanes are searched side by side, so a later lane meets its boundary in an earlier step.
    for (first, second) in [(1000, 1100), (400, STRIP + 70), (STRIP + 450, 31 * STRIP + 80)] {
        let mut data = vec![0; MIN + 40 * STRIP];
        for at in [first, second] {
            data[MIN + at - WINDOW..MIN + at].copy_from_slice(&window);
        }
        assert_eq!(cut(&chunkers, &data), MIN + first);
    }
}

/// The largest points, one of which the vectors cannot do, and the smallest.
#[test]
fn extreme_points() {
    let data = stream(b"extreme", 3 * MAX);
    for r in [1, 2, (1 << 52) - 257, (1 << 52) - 256, P - 1] {
        let chunkers: Vec<_> = Path::ALL
            .into_iter()
            .filter_map(|path| Chunker::from_parts(r, &[1; 16], path))
            .collect();
        for fill in [0, 0xff] {
            let mut data = data.clone();
            data[..MIN + 5 * STRIP].fill(fill);
            let n = cut(&chunkers, &data);
            cut(&chunkers, &data[n..]);
        }
    }
}

/// A stretch of a stream: noise, one byte, or a repeated pattern.
fn stretch() -> impl Strategy<Value = Vec<u8>> {
    let len = 1usize..400_000;
    prop_oneof![
        (any::<u64>(), len.clone()).prop_map(|(seed, n)| stream(&seed.to_le_bytes(), n)),
        (prop_oneof![Just(0), Just(0xff), any::<u8>()], len.clone())
            .prop_map(|(byte, n)| vec![byte; n]),
        (proptest::collection::vec(any::<u8>(), 1..100), len).prop_map(|(pattern, n)| pattern
            .into_iter()
            .cycle()
            .take(n)
            .collect()),
    ]
}

/// A length near one of the bounds, or any.
fn length() -> impl Strategy<Value = usize> {
    let near = prop_oneof![Just(MIN), Just(NORMAL), Just(MAX), Just(MIN + 32 * STRIP)];
    prop_oneof![(near, 0usize..200).prop_map(|(n, d)| n + d - 100), 0..MAX + 1000]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn all_paths_cut_alike(
        secret in any::<[u8; 32]>(),
        stretches in proptest::collection::vec(stretch(), 1..6),
        length in length(),
    ) {
        let mut data = stretches.concat();
        let n = data.len();
        data.resize(length.max(1), 0);
        if n < data.len() {
            let (filled, rest) = data.split_at_mut(n);
            rest.iter_mut().zip(filled.iter().cycle()).for_each(|(to, from)| *to = *from);
        }
        let chunkers = paths(&secret);
        let mut rest = &data[..];
        while !rest.is_empty() {
            rest = &rest[cut(&chunkers, rest)..];
        }
    }
}

proptest! {
    #[test]
    fn multiply_add_is_modular(a in 0..P, b in 0..P, c in 0..P) {
        let expected = (u128::from(a) * u128::from(b) + u128::from(c)) % u128::from(P);
        prop_assert_eq!(u128::from(multiply_add(a, b, c)), expected);
    }
}
