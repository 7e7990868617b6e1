use super::*;
use std::collections::BTreeMap;

fn range(lower: Option<&[&str]>, upper: Option<&[&str]>) -> Bounds {
    let own = |t: &[&str]| t.iter().map(|s| (*s).to_owned()).collect();
    Bounds::Range {
        lower: lower.map(own),
        upper: upper.map(own),
    }
}

fn list(items: &[&str]) -> Bounds {
    Bounds::List {
        items: items.iter().map(|i| vec![(*i).to_owned()]).collect(),
    }
}

#[test]
fn ranges_that_only_touch_do_not_overlap() {
    let a = range(Some(&["2024-01-01"]), Some(&["2024-02-01"]));
    let b = range(Some(&["2024-02-01 00:00:00"]), Some(&["2024-03-01"]));
    assert!(!overlaps(&a, &b) && !overlaps(&b, &a));
    let c = range(Some(&["2024-01-31 23:59:59.5"]), None);
    assert!(overlaps(&a, &c) && overlaps(&c, &a) && overlaps(&b, &c));
}

#[test]
fn integers_are_compared_by_value() {
    let nine = range(None, Some(&["9"]));
    let ten = range(Some(&["10"]), Some(&["MAXVALUE"]));
    assert!(!overlaps(&nine, &ten));
    assert!(overlaps(&range(None, Some(&["11"])), &ten));
    assert_eq!(compare_literals("-3", "2"), Ordering::Less);
    assert_eq!(compare_literals("b", "10"), Ordering::Greater);
}

#[test]
fn literals_of_any_kinds_have_one_order() {
    let all = [
        "9",
        "10",
        "1x",
        " 7",
        "-3",
        "x",
        "",
        "2026-01-01",
        "2026-1-1 00:00:00",
        "2026-13-01",
        "20260101",
        "MINVALUE",
        "maxvalue",
        "9x",
        "2026-01-01 10:00:00.5",
        "0",
    ];
    for a in all {
        for b in all {
            assert_eq!(compare_literals(a, b), compare_literals(b, a).reverse());
            for c in all {
                let follows = compare_literals(a, b).is_le() && compare_literals(b, c).is_le();
                assert!(!follows || compare_literals(a, c).is_le(), "{a} {b} {c}");
            }
        }
    }
    // A sort that meets contradictions may panic.
    let literals: Vec<String> = (0..3_u32)
        .flat_map(|i| all.map(|text| format!("{text}{i}")))
        .collect();
    let bounds: Vec<Bounds> = literals
        .iter()
        .map(|text| range(Some(&[text.as_str()]), None))
        .collect();
    assert!(first_overlap(&bounds.iter().collect::<Vec<_>>()).is_some());
}

#[test]
fn tuples_are_compared_column_by_column() {
    let a = range(Some(&["1", "5"]), Some(&["2", "5"]));
    assert!(!overlaps(&a, &range(Some(&["2", "5"]), None)));
    assert!(
        overlaps(&a, &range(Some(&["2"]), None)),
        "a short tuple starts at the smallest value"
    );
}

#[test]
fn empty_ranges_overlap_nothing_and_unbounded_ones_everything() {
    let empty = range(Some(&["5"]), Some(&["5"]));
    assert!(!overlaps(&empty, &range(None, None)));
    assert!(overlaps(&range(None, None), &range(None, Some(&["1"]))));
    assert!(overlaps(&Bounds::All, &Bounds::All));
}

#[test]
fn bounds_are_the_same_by_value_not_by_spelling() {
    let day = range(Some(&["2024-01-01"]), None);
    assert!(same_bounds(
        &day,
        &range(Some(&["2024-01-01 00:00:00"]), None)
    ));
    assert!(!same_bounds(
        &day,
        &range(Some(&["2024-01-01"]), Some(&["2025-01-01"]))
    ));
    assert!(same_bounds(&list(&["a", "b"]), &list(&["b", "a"])));
    assert!(!same_bounds(&list(&["a"]), &Bounds::All));
    assert!(overlaps(&list(&["a", "b"]), &list(&["c", "b"])));
    assert!(!overlaps(&list(&["a"]), &list(&["A"])));
}

fn schema() -> TableSchema {
    let column = |name: &str, data_type: &str| Column {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        nullable: false,
        default: None,
        aggregation: None,
        comment: String::new(),
    };
    TableSchema {
        columns: vec![column("k1", "BIGINT"), column("v1", "VARCHAR(20)")],
        keys_type: KeysType::Duplicate,
        key_columns: vec!["k1".to_owned()],
        partitioning: Partitioning::Range {
            columns: vec!["k1".to_owned()],
        },
        distribution: Distribution::Hash {
            columns: vec!["k1".to_owned()],
        },
        comment: String::new(),
        properties: BTreeMap::new(),
    }
}

#[test]
fn comments_case_and_properties_do_not_count() {
    let mut other = schema();
    other.columns[0].name = "K1".to_owned();
    other.columns[0].data_type = "bigint".to_owned();
    other.comment = "words".to_owned();
    other
        .properties
        .insert("compression".to_owned(), "LZ4".to_owned());
    assert_eq!(difference(&schema(), &other), None);
}

#[test]
fn the_first_difference_is_named_with_both_values() {
    let mut cases: Vec<(&str, TableSchema)> = Vec::new();
    let mut with = |text: &'static str, change: &dyn Fn(&mut TableSchema)| {
        let mut changed = schema();
        change(&mut changed);
        cases.push((text, changed));
    };
    with("name of column 1 is 'k1', expected 'v1'", &|s| {
        s.columns.swap(0, 1)
    });
    with(
        "type of column 'v1' is VARCHAR(20), expected VARCHAR(30)",
        &|s| {
            s.columns[1].data_type = "VARCHAR(30)".to_owned();
        },
    );
    with(
        "nullability of column 'k1' is NOT NULL, expected NULL",
        &|s| s.columns[0].nullable = true,
    );
    with("default of column 'k1' is absent, expected '0'", &|s| {
        s.columns[0].default = Some("0".to_owned());
    });
    with("aggregation of column 'v1' is absent, expected SUM", &|s| {
        s.columns[1].aggregation = Some("sum".to_owned());
    });
    with("number of columns is 2, expected 1", &|s| {
        s.columns.truncate(1)
    });
    with("keys type is DUPLICATE KEY, expected PRIMARY KEY", &|s| {
        s.keys_type = KeysType::Primary
    });
    with("key columns is (k1), expected (k1, v1)", &|s| {
        s.key_columns.push("v1".to_owned())
    });
    with("partition type is RANGE, expected LIST", &|s| {
        s.partitioning = Partitioning::List {
            columns: vec!["k1".to_owned()],
        };
    });
    with("partition columns is (k1), expected (v1)", &|s| {
        s.partitioning = Partitioning::Range {
            columns: vec!["v1".to_owned()],
        };
    });
    with("distribution type is HASH, expected RANDOM", &|s| {
        s.distribution = Distribution::Random
    });
    with("distribution columns is (k1), expected ()", &|s| {
        s.distribution = Distribution::Hash {
            columns: Vec::new(),
        };
    });
    for (text, changed) in cases {
        assert_eq!(
            difference(&schema(), &changed)
                .map(|d| d.to_string())
                .as_deref(),
            Some(text)
        );
    }
}

#[test]
fn the_quick_search_for_an_overlap_agrees_with_looking_at_each_pair() {
    let mut number = 9_u64;
    let mut roll = |sides: u64| {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963);
        (number >> 33) % sides
    };
    let mut found = 0;
    for _ in 0..3_000 {
        let count = roll(5) as usize;
        let lists = roll(4) == 0;
        let mut all = Vec::new();
        for _ in 0..count {
            let (a, b) = (roll(40).to_string(), roll(40).to_string());
            let end = |text: String, open: bool| (!open).then(|| vec![text]);
            all.push(match (lists, roll(40)) {
                (_, 0) => Bounds::All,
                (true, _) => list(&[&a, &b]),
                (false, n) => Bounds::Range {
                    lower: end(a, n == 1),
                    upper: end(b, n == 2),
                },
            });
        }
        let refs: Vec<&Bounds> = all.iter().collect();
        let pairs = (0..count).flat_map(|i| (i + 1..count).map(move |j| (i, j)));
        let expected = pairs.clone().any(|(i, j)| overlaps(&all[i], &all[j]));
        let answer = first_overlap(&refs);
        assert_eq!(answer.is_some(), expected, "{all:?}");
        if let Some((i, j)) = answer {
            assert!(i < j && overlaps(&all[i], &all[j]), "{i} {j} {all:?}");
            found += 1;
        }
    }
    assert!(
        found > 500 && found < 2_900,
        "both answers were seen: {found}"
    );
}
