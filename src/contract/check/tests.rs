mod faults;
mod orders;
mod proofs;

use super::*;

fn folder(name: &str) -> Vec<SourceFile> {
    fn walk(folder: &std::path::Path, files: &mut Vec<SourceFile>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push(SourceFile {
                    path,
                    text: text.into(),
                });
            }
        }
    }
    let mut files = Vec::new();
    walk(&std::path::Path::new("contracts").join(name), &mut files);
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
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
