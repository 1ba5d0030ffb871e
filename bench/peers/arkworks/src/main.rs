//! arkworks beside the kernels: one JSON line a figure, the least of several rounds in nanoseconds, by the clock and of
//! processor time. Arguments: how many threads, and the largest power of two.
use ark_bn254::{Bn254, Fq, Fr, G1Affine, G1Projective};
use ark_ec::{CurveGroup, PrimeGroup, VariableBaseMSM};
use ark_ff::{Field, UniformRand};
use ark_groth16::Groth16;
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use ark_relations::lc;
use ark_relations::r1cs::{ConstraintSynthesizer, ConstraintSystem, ConstraintSystemRef, SynthesisError, Variable};
use ark_snark::SNARK;
use ark_std::rand::{rngs::StdRng, SeedableRng};
use cpu_time::ProcessTime;
use std::hint::black_box;
use std::time::Instant;

fn least(name: &str, rounds: usize, units: usize, mut act: impl FnMut()) {
    act();
    let (mut wall, mut busy) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..rounds {
        let (clock, start) = (Instant::now(), ProcessTime::now());
        act();
        busy = busy.min(start.elapsed().as_nanos() as f64 / units as f64);
        wall = wall.min(clock.elapsed().as_nanos() as f64 / units as f64);
    }
    println!("{{\"name\": \"{name}\", \"wall\": {wall:.2}, \"cpu\": {busy:.2}}}");
}

/// x' = x² + i, from a hidden x to a public result.
#[derive(Clone)]
struct Chain {
    steps: usize,
}

impl Chain {
    fn output(&self) -> Fr {
        (0..self.steps).fold(Fr::from(3u64), |x, i| x.square() + Fr::from(i as u64))
    }
}

impl ConstraintSynthesizer<Fr> for Chain {
    fn generate_constraints(self, cs: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        let output = cs.new_input_variable(|| Ok(self.output()))?;
        let mut value = Fr::from(3u64);
        let mut wire = cs.new_witness_variable(|| Ok(value))?;
        for i in 0..self.steps {
            let step = Fr::from(i as u64);
            value = value.square() + step;
            let next = if i + 1 == self.steps { output } else { cs.new_witness_variable(|| Ok(value))? };
            cs.enforce_constraint(lc!() + wire, lc!() + wire, lc!() + next - (step, Variable::One))?;
            wire = next;
        }
        Ok(())
    }
}

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).map(|word| word.parse().unwrap()).collect();
    let (threads, largest) = (arguments[0], arguments[1]);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let mut chance = StdRng::seed_from_u64(1);
    let (mut x, y) = (Fq::rand(&mut chance), Fq::rand(&mut chance));
    least("field_mul", 5, 1 << 20, || {
        for _ in 0..1 << 20 {
            x *= y;
        }
        black_box(x);
    });
    let base = (G1Projective::generator() * Fr::rand(&mut chance)).into_affine();
    let mut sum = G1Projective::generator() * Fr::rand(&mut chance);
    least("mixed_add", 5, 1 << 16, || {
        for _ in 0..1 << 16 {
            sum += base;
        }
        let _ = black_box(sum);
    });

    let points: Vec<G1Affine> = {
        let mut at = G1Projective::generator() * Fr::rand(&mut chance);
        let step = at.into_affine();
        let all: Vec<G1Projective> = (0..1 << largest).map(|_| { at += step; at }).collect();
        G1Projective::normalize_batch(&all)
    };
    let scalars: Vec<Fr> = (0..1 << largest).map(|_| Fr::rand(&mut chance)).collect();
    for power in (10..=largest).step_by(2) {
        let count = 1 << power;
        least(&format!("msm_{power}"), 3, 1, || {
            let _ = black_box(G1Projective::msm(&points[..count], &scalars[..count]).unwrap());
        });
        let domain = Radix2EvaluationDomain::<Fr>::new(count).unwrap();
        let mut values = scalars[..count].to_vec();
        least(&format!("ntt_{power}"), 3, 1, || {
            domain.fft_in_place(&mut values);
            black_box(&values);
        });
    }
    for power in (10..=largest).step_by(2) {
        let circuit = Chain { steps: (1 << power) - 4 };
        let (key, verifying) = Groth16::<Bn254>::circuit_specific_setup(circuit.clone(), &mut chance).unwrap();
        // The witness is made once, as the other side gets it ready.
        let cs = ConstraintSystem::new_ref();
        circuit.clone().generate_constraints(cs.clone()).unwrap();
        cs.finalize();
        let (matrices, inner) = (cs.to_matrices().unwrap(), cs.borrow().unwrap());
        let wires = [inner.instance_assignment.clone(), inner.witness_assignment.clone()].concat();
        let (inputs, constraints) = (inner.num_instance_variables, inner.num_constraints);
        least(&format!("prove_{power}"), 3, 1, || {
            let (r, s) = (Fr::rand(&mut chance), Fr::rand(&mut chance));
            black_box(
                Groth16::<Bn254>::create_proof_with_reduction_and_matrices(
                    &key, r, s, &matrices, inputs, constraints, &wires,
                )
                .unwrap(),
            );
        });
        if power == 10 {
            let proof = Groth16::<Bn254>::prove(&key, circuit.clone(), &mut chance).unwrap();
            let prepared = Groth16::<Bn254>::process_vk(&verifying).unwrap();
            let output = [circuit.output()];
            least("verify", 20, 1, || {
                assert!(Groth16::<Bn254>::verify_with_processed_vk(&prepared, &output, &proof).unwrap());
            });
        }
    }
}
