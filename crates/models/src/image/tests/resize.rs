//! Against `Image.fromarray(synthetic).resize((width, height), filter)` of Pillow 13.0, `synthetic` as in this module's parent: pixels in
//! hexadecimal, row by row.

use super::*;
use crate::image::resize::{Part, resize};
use crate::image::{Filter, MAX_PIXELS};

struct Case {
    /// Width, height.
    from: (usize, usize),
    to: (usize, usize),
    filter: Filter,
    expected: &'static str,
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { from: (23, 17), to: (7, 5), filter: Filter::Nearest, expected: "\
        6dd2370368cd70d53a066bd041a60b096ed344a90e8df257096ed390f55a0c71d62d92f70f74d93095fa0a6fd4a0056a0d72d7a3086dde43a8a60b70e146ab\
        e247ac379c01e54aaf3a9f048ff4593da20792f75ca70c713da207aa0f7440a50a7be04543a80d7ee348\
    " },
    Case { from: (23, 17), to: (7, 5), filter: Filter::Lanczos, expected: "\
        747c6e77958272826b769261778a6e788a64797f748f7b73628d9a8a707c616e868e7d8267697d8a849285738465799e7e758870779a787c8a7d78856a8377\
        89937a8f647a808d74946471829080966a6c868989847f738c6e73857a7a8b76728b787d897f7696707e\
    " },
    Case { from: (23, 17), to: (7, 5), filter: Filter::Bilinear, expected: "\
        797c726f918376836c708d6a79896974876b77836f8a807769889782767e6a7188867c836e6f8084818e8079827273967a77867773917a7b887c7680747c80\
        8a8c80886f798584788a6f7388897e8e7271888981877d748873738679798977738a7b7b8a7b788f777b\
    " },
    Case { from: (23, 17), to: (7, 5), filter: Filter::Bicubic, expected: "\
        777a7071958474836b72916378896c758a677880718d7f73658a9a86747d656e878a7d836a6b7f8884918376816c749c7b7686757597787b897e76826f7f7b\
        8a907f8a69788488778e6971868c80906e6e878a868680738b7073847a798b77748b7a7c8b7e7792747d\
    " },
    Case { from: (23, 17), to: (7, 5), filter: Filter::Box, expected: "\
        6d7d7070958f708073639067719e7476866b748477938d726a7f94807a75627282837d8d6f74798680907c6f7f7872977f72828f65926473a0937873677686\
        9a958f876c7188827c7f64748b857f8c71768e88828b7e717f7a748e81748191678f667586957a926978\
    " },
    Case { from: (23, 17), to: (7, 5), filter: Filter::Hamming, expected: "\
        7c797162949072856b65916c73906a6c8b70748668898f6d6785a1807e7c69638e84828a6d5f868685997c777e7b69987772877f6b9375748f82717b727685\
        8f8b90816f6d8a817f8070678e8782817263908c838c7f71887a6d877b71867c70897a73847e758b7776\
    " },
    Case { from: (5, 4), to: (13, 9), filter: Filter::Lanczos, expected: "\
        005fd8005fef0562ff1770ff288add38ae6541cb0b44db004de81567f43c8cff4ba6ff4eafff520462a3066cb6127ed32494df359db5429b5d51981b64a00c\
        79b02883c64d86da6183e66985ec6f1a694a1f82572da96d42c97e50b8745979526d4537984236bc564dac7c6d78958748a49640ad9f39980041ad0050cb0e\
        67d8267fa74290465ca80072d20085e61699b242af5457c5075fd30067da53ee005ade0065c20a808f26af4f54da1b88ee0ab8e920dcbd3cf56d57ff2157ff\
        004efc004bf96cff3374d73b818f4c9e396ad20b8afc20a6f950c3c277e4698dff2491ff0d86f80e77ea136de187a358988669b15886cf2ba4e427a9db5791\
        b38b7d75a38837a9981eaba02eafa447b1a354b0a3992e64b2307dd835a4f647c2e668aea5906a60a72a34a81e29a0213da8315cc44b76dc5f85e86ba1006b\
        bf0089ec23b5ff5cd2e493b082b3522db7000ea70025980054a60079d01691f536a2ff4a\
    " },
    Case { from: (5, 4), to: (13, 9), filter: Filter::Bilinear, expected: "\
        0065ca0368cd1176db1f84e92e93bc3ca1684aaf1458bd2266cb3075da3f83e84d91f65b94f95e0a6fa90d72ac1c81bb2b90ca3b96a849946558922267a131\
        76b0407fc0507dcf5f7cde6d7ce171248952288d55399e664aaf775c9c726d715d7e46488f5859a0696a9a7b7c6f8c8d449d9e3ba0a23ea30842a60c56b420\
        69c2337d9b4790525aa4096eb21c81bf2f94aa43a85f54b91365ca0469ce59be235db827739d3d8881529f6669b44a7eca2f94ae44a9935abf7069ce436dd2\
        1671d60d72d773d83d78ca428f8559a74071c0308ad842a2ef54b9aa6cd16684e9368ff42786eb197de2167be08d8e5792885cac6676c64490ca4694be6088\
        b27a7c828688529394389d9e3ca1a341a6a842a7a9a73771ad3977c94593e551afd0679a9b846566a030549f2f439e2e42a73758bd4d6fd46473d868b1167b\
        b71c81d4399ef156bbd3749d8e915849ae1343a80d3da20746ab1063c82d80e54a86eb50\
    " },
    Case { from: (5, 4), to: (13, 9), filter: Filter::Bicubic, expected: "\
        005cd90061df086cf8187cff2790d634a96242bf0c4ece065bdb226ee9358af9469fff52a6ff570667af086db5147ccd268fdf3698b944985f539b1d64a71b\
        74b7357fc74a82d95c83e66886ec6f1d7f4922885030a66344c27856af72666f5578414297454bb45e61aa7576728d8e409d9e3aa4a5399f0040a60451c014\
        68d42b7dab42914958a4026ec00482d62495b83eaa5a54c00963cf006ad553d60d5bca156cad2586853fa45f5ec83582da1fa4c82ebfa24fd87361e63363e8\
        0362e70062e76df13676d53f898a53a6326fc61a8bed33a5f654c0b970dd5f8cf82995ff1888f31579e51075e18a9c54958d5fb0617ad0319ad8319fcf5a8d\
        b7808182928b429d9c26a4a531a7a843a8a945a9aaa3286daf2f79d33b9df54fbfe069a99a8c625da52742a61a379e1d3da6285bc34677dc5e80e567ae0078\
        bb0885e22aacff59d0e47eaf85a05139b60327b000309f0045a8006cd01d8df23f9aff4b\
    " },
    Case { from: (23, 17), to: (9, 31), filter: Filter::Bilinear, expected: "\
        268ba77abc4d9259a43c9d8897ac61705bbc54b966ab877e516dd23e8b8477996b7a7492548f7682976b68798a679a6b8c897555889b668a47735c9f52a273\
        7d78585e737c5aac35886572588c655bb63c877d576865b65bb964976f61517f7c6ebb389661794f8a6475a03fa76c7f5a82c574c85aab6b754b99768bc055\
        9e6c8152866795755fad657e5ea27788976777726d60b0598f86707285646e9e5d8d5b7fae627865ba2f9e697848796278ba429552894b99488ead5887489a\
        91765b81964bc36b94627e4d9a6764b95f95638042b66880aa63927b8f528b7a67bf72b0777e499f3386ba71a6776948b740a5af809674b4776e71875a81cd\
        7f746c6049a8668cc383596b5d5fc46ea0b680b188596da83090c28d6d853c61b2489cab8c558c2f7ab95baca8a07f854b70ca48a088a16995377ca065a157\
        9361ad3391807ba067af55874a75cd5e9f6ba9589c3c8ca17c92469660b03ea05c91825bb42f8c507bc073965dac429f4797ac90775a9757a34eab42a25a6c\
        8c498d65788c77738183608c687c918467877b71817082638d58955b718c7e7450764aaf5189748e586d7259ba58925a954e8f6f5ec357917ba0666e7163be\
        639d70a852876077be799a66a7518b577e985bac6cb75c8c697bc277a46eb551a1538fb7989874ab598d47977080b0669a61ab558f8d9a6c758267b75a927a\
        ad698d7077a65f8c579fa969826ea555a967b2507c6282a96ca057b6539551999f7a9150b38c7d7289587ace5bb76b8163a45590c465ab6b7c65c15a9db46b\
        a07c9a6a874596a9659b7b7e70933aa2a9798d7c677fa449a8a2896c75bf6b6a65aa4482628374865450a555945e88579e4a689d61a97989a7835770ac3796\
        5e936ea03d6a9a519f67905ab432818964aba1a976a54a73a650a570a86aba3884886ea4889766c6369870849f84b24eae4d788a659f72ac55bd419170828d\
        8d9860be44a55f977b62b42cb1547e6f799473ab42b94d995b94738e975ab155ac52a5558283547c6d797a786b88796c8073757a82658c747b847a7879885b\
        9c5c7a568873887752985790589659977062886296679b519e6b68a3589a5daa65a0716a9669a467b153b25e807f839d7ead54be5388a856ad62be5daf6e79\
        9573b070c04fc254917a96a28cb756d1459b\
    " },
    Case { from: (23, 17), to: (9, 31), filter: Filter::Bicubic, expected: "\
        1888b483d1389d43b529a88da8b4527348d542ce60bf87774d60e8338a877fa2607d689e4896778f9963656f965ea5699888715084a6668c37774faa44ad74\
        82745060688350b824925a79508a6659c32f907f456650d249d159aa655d47748367d322a74e833c88667aac2aaf6c7c547ed46ed54db6627b419d7090c857\
        a165834889689d6e5fb95c8653af76899b5f77697756c84994807a6988656aae558f4989b2587c5eca21a8617e3c746378cc349b43943a9f4396b94f833da4\
        916d5580a139e4609f528040a9615dce569b4e8631d0607fb05f92778f4b8c7a61d76ec1708338ac1d8bc978ac6e6935c92db1b6889170c478716b804a82e8\
        8375605f37b05899da8b52585453d967adbf81c18b5866a91297d4986b823058b733abb99b4d871877c953b7afa9827e456ad93dab83af6699277ba065ac44\
        9c5abf23957f81a65cbf4b7f3f75e55bad56bc4ea62896a38798289e54cb2fae4d9f814cc122894783cf729d4bb932a836a5b29b774e9b49b442bb33ad546c\
        923c8e5c818b7e6d7a83568f60878e8e5d89766d826d8857934ea059738d7b76488040bb488f70945a667152c5539c529c488c6860ca479b7dad635c7654d8\
        4fb365c246805574d672ab55bc3f8d47879f50b56ac7558a6477d070b164ca45a74596c09d9c6db74f903ba0677ebb5aa556c340918ca3656e8660d24a966e\
        bd5b936777b9588a45a7ae5e8166ba40b65bc33e795785bc64a644c83c9e3ea5ad7f8c44c48b7d6b894d74ef51c95d8756b44896d961b7598057db4caabc6c\
        aa76a4608a319dbd60a1778565a020b0b5818a77657bb533b4a9936473ce616b60b92f86548974845042b144a14a9351a53d609f5ab5738cb67f546ebb1aa0\
        4ca06ca62e63a13eae539e52c11981875db7a5b276a9446ea848af68b566c629848672ac849e5ed0299c6d8ca182c440c0427b8763ad69c047d42c9e639092\
        90a152ce34b652a77759bd23bc4d866c78986bb536c83fa5509d7390994eb94bb849ad517f844c7c64817381618973677c6f7d7589598d6c7c7f7b78758a53\
        a4557f4b87748880429f489948a056a06d598658a25ca545a76269aa4ea653b760aa7164985fb15cc449bf52837a85a577b949cb4692ab4db95ad055bb6878\
        936fbc6ad643ce449a759fa488c24ddd38a7\
    " },
    Case { from: (1, 1), to: (3, 2), filter: Filter::Bicubic, expected: "\
        0065ca0065ca0065ca0065ca0065ca0065ca\
    " },
];

fn whole(p: &Picture, (width, height): (usize, usize), filter: Filter) -> Vec<u8> {
    resize(p, (height, width), &Part { rows: 0..height, columns: 0..width }, filter).unwrap()
}

#[test]
fn resized_pictures_are_pillows_to_the_last_grey_level() {
    for case in CASES {
        let found = whole(&synthetic(case.from.0, case.from.1), case.to, case.filter);
        let expected: Vec<u8> =
            case.expected.as_bytes().chunks(2).map(|h| u8::from_str_radix(std::str::from_utf8(h).unwrap(), 16).unwrap()).collect();
        assert_eq!(found, expected, "{:?} to {:?} by {:?}", case.from, case.to, case.filter);
    }
}

#[test]
fn the_same_size_is_the_same_picture() {
    let p = synthetic(23, 17);
    for (filter, name) in Filter::NUMBERED {
        assert_eq!(whole(&p, (23, 17), filter), p.rgb(), "{name}");
    }
}

#[test]
fn one_colour_stays_one_colour() {
    let p = Picture::from_rgb(31, 7, [200, 3, 90].repeat(31 * 7), None).unwrap();
    for (filter, to) in Filter::NUMBERED.iter().flat_map(|f| [(5, 3), (64, 90), (1, 1)].map(|to| (f.0, to))) {
        assert!(whole(&p, to, filter).chunks(3).all(|c| c == [200, 3, 90]), "{filter:?} {to:?}");
    }
}

#[test]
fn a_part_is_what_the_whole_has_there() {
    let p = synthetic(23, 17);
    for (filter, _) in Filter::NUMBERED {
        let (all, part) = (whole(&p, (40, 9), filter), Part { rows: 2..7, columns: 11..30 });
        let expected: Vec<u8> = part.rows.clone().flat_map(|y| all[(y * 40 + 11) * 3..(y * 40 + 30) * 3].to_vec()).collect();
        assert_eq!(resize(&p, (9, 40), &part, filter).unwrap(), expected, "{filter:?}");
    }
}

/// Weights of one pixel add up to 2²² in magnitude twice at most, so that sums fit.
#[test]
fn the_blackest_and_whitest_stripes_do_not_overflow() {
    let stripes = |n: usize, first: u8| (0..n).flat_map(|i| [if i % 2 == 0 { first } else { !first }; 3]).collect();
    for (n, to) in (1..40).flat_map(|n| (1..40).map(move |to| (n, to))) {
        for first in [0, 255] {
            let p = Picture::from_rgb(n, 1, stripes(n, first), None).unwrap();
            for filter in [Filter::Bicubic, Filter::Lanczos] {
                assert_eq!(whole(&p, (to, 1), filter).len(), to * 3); // sums that overflow panic in tests
            }
        }
    }
}

#[test]
fn sizes_that_no_memory_holds_are_refused() {
    let p = synthetic(3, 2);
    let large = resize(&p, (20_000, 20_000), &Part { rows: 0..20_000, columns: 0..20_000 }, Filter::Bilinear).unwrap_err().to_string();
    assert_eq!(large, "resizing an image of 3x2 to 20000x20000 takes a result of more than 100 million pixels");
    assert!(resize(&p, (MAX_PIXELS + 1, 1), &Part { rows: 0..1, columns: 0..1 }, Filter::Nearest).is_err());
}
