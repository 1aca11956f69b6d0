use proptest::prelude::*;

use super::*;

#[test]
fn api_values_use_an_exponent_only_at_the_ends() {
    for (value, text) in [
        (1e-7, "1e-07"),
        (1.5e21, "1.5e+21"),
        (1e20, "100000000000000000000"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (9.999999e-7, "9.999999e-07"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::NEG_INFINITY, "-Inf"),
        (f64::INFINITY, "+Inf"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(format_json(value), text);
    }
}

#[test]
fn the_f_form_never_has_an_exponent() {
    for (value, text) in
        [(1e21, "1000000000000000000000"), (1e-7, "0.0000001"), (-2.5, "-2.5"), (f64::INFINITY, "+Inf"), (0.0, "0")]
    {
        assert_eq!(format_f(value), text);
    }
}

#[test]
fn the_g_form_switches_at_minus_4_and_6() {
    for (value, text) in [
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (999999.5, "999999.5"),
        (1e6, "1e+06"),
        (1048576.0, "1.048576e+06"),
        (-1.1, "-1.1"),
        (0.0, "0"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(format_g(value), text);
    }
}

#[test]
fn openmetrics_numbers_have_a_point_or_an_exponent() {
    for (value, text) in [
        (0.0, "0.0"),
        (1.0, "1.0"),
        (-1.0, "-1.0"),
        (0.99, "0.99"),
        (1e22, "1e+22"),
        (250.0, "250.0"),
        (f64::INFINITY, "+Inf"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(format_openmetrics(value), text);
    }
}

#[test]
fn numbers_read_as_in_go() {
    for (text, value) in [
        ("1", 1.0),
        ("+1", 1.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5e1", -5.0),
        ("1e23", 1e23),
        ("1E-5", 1e-5),
        ("4.9e-324", 5e-324),
        ("1e-400", 0.0),
        ("123456789012345678901234567890", 1.2345678901234568e29),
        ("inf", f64::INFINITY),
        ("-iNf", f64::NEG_INFINITY),
        ("+Infinity", f64::INFINITY),
        ("1_23.50_0_0e+1_2", 1.235e14),
        ("0x1p0", 1.0),
        ("0X1P-1", 0.5),
        ("0x1.8p1", 3.0),
        ("0x.8p0", 0.5),
        ("0x10p0", 16.0),
        ("-0x1p-1074", -5e-324),
        ("0x1p-1075", 0.0),
        ("0x1.8p-1075", 5e-324),
        ("0x_1_2.3_4_5p+1_2", 74565.0),
        ("0x1.fffffffffffffp1023", f64::MAX),
        ("0x1.00000000000008p0", 1.0),
        ("0x1.000000000000081p0", 1.0000000000000002),
        ("0x1.00000000000018p0", 1.0000000000000004),
        ("0x1.00000000000008000000000000000000001p0", 1.0000000000000002),
        ("0x0p+18446744073709551616", 0.0),
        ("0x1p-18446744073709551616", 0.0),
    ] {
        assert_eq!(parse_float_checked(text), Ok(value), "{text}");
    }
    assert!(parse_float("NaN").unwrap().is_nan());
    assert!(parse_float("-0").unwrap().is_sign_negative());
}

#[test]
fn what_is_no_number_in_go_is_refused() {
    for text in [
        "", "+", "-", ".", "e5", "1e", "1e+", "1x", "1.1.", " 1", "1 ", "--1", "+-1", "infinit", "infx", "nanx",
        "+nan", "-nan", "_1", "1_", "1__2", "1_.5", "1._5", "1e_5", "1e5_", "0x", "0x1", "0xp0", "0x.p0", "0x1.8",
        "0x1pf", "0x1p", "0x1p+", "x1", "_0x1p0", "0x__1p0", "0x1p_1", "1e1.5", "０",
    ] {
        assert_eq!(parse_float_checked(text), Err(FloatError::Syntax), "{text:?}");
        assert_eq!(parse_float(text), None);
    }
}

#[test]
fn what_is_too_large_is_an_infinity_and_an_error() {
    for (text, value) in [
        ("1e309", f64::INFINITY),
        ("-1.7976931348623159e308", f64::NEG_INFINITY),
        ("0x1p1024", f64::INFINITY),
        ("0x1.fffffffffffff8p1023", f64::INFINITY),
        ("0x1p18446744073709551616", f64::INFINITY),
    ] {
        assert_eq!(parse_float_checked(text), Err(FloatError::Range(value)), "{text}");
        assert_eq!(parse_float(text), Some(value));
    }
}

proptest! {
    #[test]
    fn every_form_reads_back_to_the_same_bits(bits: u64) {
        let value = f64::from_bits(bits);
        prop_assume!(!value.is_nan());
        for text in [format_f(value), format_e(value), format_g(value), format_json(value), format_openmetrics(value)] {
            prop_assert_eq!(parse_float(&text).map(f64::to_bits), Some(bits), "{}", text);
        }
    }

    #[test]
    fn hexadecimal_floats_read_back_to_the_same_bits(mantissa in 0u64..1 << 53, exponent in -1074i64..971, shift in 0u32..11) {
        let expected = mantissa as f64 * 2f64.powi((exponent / 2) as i32) * 2f64.powi((exponent - exponent / 2) as i32);
        let text = format!("0x{:x}p{}", mantissa << shift, exponent - i64::from(shift));
        // Two roundings may differ from one only below the normal range.
        prop_assume!(expected == 0.0 || expected >= f64::MIN_POSITIVE);
        prop_assume!(mantissa != 0 || expected == 0.0);
        if expected >= f64::MIN_POSITIVE {
            prop_assert_eq!(parse_float(&text), Some(expected), "{}", text);
        }
    }
}

#[test]
fn pushed_values_read_as_formatted_ones() {
    let mut values = vec![0.0, -0.0, 1.0, -1.0, 0.1, 1e15, 1e15 - 1.0, -123_456.0, 1e21, 1e20, 1e-7, 9e-7, 1e-6];
    values.extend([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, 2.5e-5, 999_999.5]);
    for value in values {
        let mut pushed = Vec::new();
        push_json(&mut pushed, value);
        assert_eq!(String::from_utf8(pushed).unwrap(), format_json(value), "{value}");
    }
    for number in [0, 9, 10, 1_700_000_000, u64::MAX] {
        let mut pushed = Vec::new();
        push_u64(&mut pushed, number);
        assert_eq!(String::from_utf8(pushed).unwrap(), number.to_string());
    }
}
