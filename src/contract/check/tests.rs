mod faults;
mod orders;
mod proofs;

use super::*;

fn folder(name: &str) -> Vec<SourceFile> {
    crate::contract::tests::folder(&std::path::Path::new("contracts").join(name))
}

fn checked(name: &str, files: &[SourceFile], cases: usize) -> Report {
    let contract = Contract::load(name, files).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let options = Options {
        cases,
        ..Options::default()
    };
    check(&contract, files, &options, &Progress::default())
}

#[test]
fn the_demo_contract_is_good() {
    let report = checked("orders", &folder("orders"), 300);
    let text = render(std::slice::from_ref(&report), Style::Text { is_full: true });
    assert_eq!(report.verdict, Verdict::Tested, "{text}");
}
