//! What capsules cost: `cargo test -p seawall-escrow --test cost -- --nocapture`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use seawall_base::{FleetId, NodeId, Rng, Sha256};
use seawall_escrow::{
    Capsule, Demand, KemSecret, LabelFields, Partial, Recipients, ceremony, open,
};

struct Counter(u64);

impl Rng for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            self.0 += 1;
            chunk.copy_from_slice(&Sha256::of(&self.0.to_le_bytes()).0[..chunk.len()]);
        }
    }
}

fn each(run: impl Fn()) -> Duration {
    const ROUNDS: u32 = 20;
    let start = Instant::now();
    (0..ROUNDS).for_each(|_| run());
    start.elapsed() / ROUNDS
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are its result")]
fn capsules_with_and_without_a_post_quantum_half() {
    for (n, k) in [(3, 2), (5, 3), (16, 9)] {
        let (group, shares) =
            ceremony::local(n, k, "measured", &mut Counter(0)).expect("a ceremony");
        let keys: Vec<_> = (1..=n as u8).map(|i| KemSecret::from_bytes(&[i; 32])).collect();
        let to = (1..).zip(keys.iter().map(KemSecret::public)).collect();
        let to = Recipients::new(k, to).expect("recipients");
        let fields = LabelFields {
            fleet: FleetId([1; 32]),
            group: group.id(),
            node: NodeId([2; 32]),
            origin: "seawall/example".to_owned(),
            sequence: 1,
            manifest_core: Sha256([3; 32]),
        };
        for (suite, to, demand) in [
            (1, None, Demand::classical()),
            (3, Some(&to), Demand::post_quantum(vec![to.clone()], false)),
        ] {
            let seal =
                || Capsule::seal(&group, &fields, to, &[7; 100], &mut Counter(9)).expect("seals");
            let capsule = seal();
            let check = || capsule.check(&group, &fields, &demand).expect("checks");
            let checked = check();
            let answer = |i: usize| {
                let own = checked.open_share(i as u16 + 1, &keys[i]).into_iter().collect();
                Partial::make(&checked, &shares[i], &group, 0, &mut Counter(1))
                    .expect("answers")
                    .with_shares(own)
            };
            let partials: Vec<_> = (0..usize::from(k))
                .map(|i| answer(i).verify(&checked, &group).expect("verifies"))
                .collect();
            let opened = || open(&checked, &group, &[], &partials).expect("opens");
            assert_eq!(opened().payload(), [7; 100]);
            println!(
                "{k} of {n}, suite {suite}: {} bytes, seal {:?}, check {:?}, answer {:?}, open {:?}",
                capsule.encode().len(),
                each(|| drop(black_box(seal()))),
                each(|| drop(black_box(check()))),
                each(|| drop(black_box(answer(0)))),
                each(|| drop(black_box(opened()))),
            );
        }
    }
}
