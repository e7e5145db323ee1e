fn main() -> smallmind::Result<()> {
    let path = std::env::args().nth(1).expect("usage: hello MODEL");
    let model = smallmind::Model::load(path, &Default::default())?;
    let mut session = model.session(&Default::default())?;
    let options = smallmind::GenerateOptions { max_tokens: 40, ..Default::default() };
    for token in session.stream("Once upon a time", options) {
        print!("{}", token?.text_lossy());
    }
    Ok(())
}
