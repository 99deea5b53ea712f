//! The tests against SciPy, on random data that `reference/make.py` wrote down with what SciPy said.

use serde_json::Value;

use super::*;

fn reference(part: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../reference/reference.json")).unwrap();
    all[part].as_array().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn near(ours: f64, theirs: f64, relative: f64) -> bool {
    (ours - theirs).abs() <= relative * theirs.abs() + 1e-300
}

#[test]
fn the_sign_test_is_that_of_scipy() {
    for case in reference("sign") {
        let (up, down) = (case["up"].as_u64().unwrap(), case["down"].as_u64().unwrap());
        let (ours, theirs) = (sign_test(up, down), case["p"].as_f64().unwrap());
        assert!(near(ours, theirs, 1e-9), "{up} up, {down} down: {ours} and {theirs}");
    }
}

#[test]
fn the_permutation_test_is_that_of_scipy() {
    for case in reference("permutation") {
        let (ours, theirs) = (sign_flip_test(&numbers(&case["differences"])), case["p"].as_f64().unwrap());
        assert!(near(ours, theirs, 1e-9), "{case}: {ours}");
    }
}

#[test]
fn kappa_is_that_of_scikit_learn() {
    for case in reference("kappa") {
        let (one, other) = (numbers(&case["one"]), numbers(&case["other"]));
        // Whole numbers, as bits that can be ordered.
        let pairs: Vec<(u64, u64)> = one.iter().zip(&other).map(|(a, b)| (a.to_bits(), b.to_bits())).collect();
        let (ours, theirs) = (cohens_kappa(&pairs), case["kappa"].as_f64());
        let same = ours.zip(theirs).map_or(ours.is_none() && theirs.is_none(), |(a, b)| (a - b).abs() < 1e-12);
        assert!(same, "{case}: {ours:?}");
    }
}

#[test]
fn alpha_is_that_of_krippendorff() {
    for case in reference("alpha") {
        let items: Vec<Vec<f64>> = case["items"].as_array().unwrap().iter().map(numbers).collect();
        for (scale, name) in [(Scale::Nominal, "nominal"), (Scale::Interval, "interval")] {
            let (ours, theirs) = (krippendorff_alpha(&items, scale).unwrap(), case[name].as_f64().unwrap());
            assert!((ours - theirs).abs() < 1e-9, "{case}: {ours}");
        }
    }
}

#[test]
fn drawn_signs_come_near_to_those_of_scipy() {
    for case in reference("drawn") {
        let (ours, theirs) = (sign_flip_test(&numbers(&case["differences"])), case["p"].as_f64().unwrap());
        // Four standard deviations: of our 20,000 draws, and of its 200,000, of which it takes twice the smaller side.
        let variance = theirs * (1.0 - theirs) / 20_000.0 + theirs * (2.0 - theirs) / 200_000.0;
        let allowed = 4.0 * variance.sqrt() + 1e-4;
        assert!((ours - theirs).abs() < allowed, "{ours} and {theirs}, {allowed} apart are allowed");
    }
}

#[test]
fn the_adjustment_is_that_of_scipy() {
    for case in reference("false_discovery") {
        let (ours, theirs) = (benjamini_hochberg(&numbers(&case["p"])), numbers(&case["adjusted"]));
        assert!(ours.iter().zip(&theirs).all(|(ours, theirs)| near(*ours, *theirs, 1e-12)), "{case}: {ours:?}");
    }
}
