//! The worst mistakes as pictures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::MistakePicture;
use super::html::{escape, rate};

/// Pictures at most this wide or high are drawn with sharp pixels, since smoothing would hide them.
const SHARP_UP_TO: u32 = 96;

/// The section of the page, or a line that there is nothing to show.
pub(super) fn section(mistakes: &[MistakePicture], set: &str) -> String {
    let heading = "<section>\n<h2>Worst mistakes</h2>\n";
    if mistakes.is_empty() {
        return format!("{heading}<p>No mistakes to show.</p>\n</section>\n");
    }
    let figures: String = mistakes.iter().map(figure).collect();
    format!(
        "{heading}<p class=\"note\">Images of the {} set that were wrong with the most confidence: \
         true → predicted, and the probability given to the prediction.</p>\n\
         <div class=\"mistakes\">\n{figures}</div>\n</section>\n",
        escape(set)
    )
}

fn figure(mistake: &MistakePicture) -> String {
    let sharp = match png_size(&mistake.png) {
        Some((width, height)) if width.max(height) > SHARP_UP_TO => "",
        _ => " class=\"sharp\"",
    };
    let (truth, predicted) = (escape(&mistake.truth), escape(&mistake.predicted));
    // A long path breaks between its folders.
    let key = escape(&mistake.key).replace('/', "/<wbr>");
    let image = if mistake.png.is_empty() {
        "<div class=\"none\">no image</div>".to_owned()
    } else {
        let data = BASE64.encode(&mistake.png);
        format!("<img{sharp} alt=\"{truth} taken for {predicted}\" src=\"data:image/png;base64,{data}\">")
    };
    // Names written from right to left would otherwise turn the arrow's two sides around.
    format!(
        "<figure>{image}<figcaption><b><bdi>{truth}</bdi></b> → <bdi>{predicted}</bdi> \
         <span>{}</span><small>{key}</small></figcaption></figure>\n",
        rate(mistake.confidence),
    )
}

/// Width and height from a PNG's header chunk, which the format puts first.
fn png_size(png: &[u8]) -> Option<(u32, u32)> {
    let field = |at: usize| Some(u32::from_be_bytes(png.get(at..at + 4)?.try_into().ok()?));
    Some((field(16)?, field(20)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(png: Vec<u8>) -> MistakePicture {
        let (key, truth, predicted) = ("pets/a.png".into(), "cat".into(), "dog".into());
        MistakePicture { png, key, truth, predicted, confidence: 0.987 }
    }

    fn header(width: u32, height: u32) -> Vec<u8> {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        png.extend(width.to_be_bytes());
        png.extend(height.to_be_bytes());
        png
    }

    #[test]
    fn small_images_stay_sharp() {
        assert!(figure(&mistake(header(32, 32))).contains("class=\"sharp\""));
        assert!(!figure(&mistake(header(160, 90))).contains("class=\"sharp\""));
    }

    #[test]
    fn no_mistakes_and_no_image_are_said() {
        assert!(section(&[], "test").contains("No mistakes to show"));
        let page = section(&[mistake(Vec::new())], "test");
        assert!(page.contains("no image") && !page.contains("<img"));
        assert!(page.contains(
            "<b><bdi>cat</bdi></b> → <bdi>dog</bdi> <span>98\u{A0}%</span><small>pets/<wbr>a.png</small>"
        ));
    }
}
