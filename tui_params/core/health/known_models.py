"""The model types of transformers whose config.json was compared with their weights, and agreed."""

from __future__ import annotations

_NAMES = """
    afmoe aimv2 aimv2_vision_model albert align altclip apertus apertus1p5 apertus1p5_text arcee aria aria_text
    audio-spectrogram-transformer audioflamingo3 audioflamingo3_encoder axk1 axk2 bailing_hybrid bamba bart beam
    beit bert bert-generation big_bird biogpt bitnet blenderbot blenderbot-small blip blip-2 blip_2_qformer bloom
    bridgetower bros camembert chinese_clip chinese_clip_vision_model clap clip clip_text_model clip_vision_model
    clipseg codegen cohere cohere2 cohere2_moe cohere2_vision convbert cosmos3_edge cosmos3_edge_text
    cosmos3_edge_vision cosmos3_omni cpmant ctrl cwm data2vec-text data2vec-vision deberta deberta-v2
    decision_transformer deepseek_v2 deepseek_v3 deepseek_v32 deepseek_v4 deepseek_vl deepseek_vl_hybrid deit
    diffllama dinov2 dinov2_with_registers dinov3_vit distilbert doge dots3_note dots3_note_text dpr dpt electra
    embedding_gemma2 embedding_gemma2_text ernie ernie4_5 ernie4_5_moe ernie4_5_vl_moe esmc eurobert exaone exaone4
    exaone4_5 exaone_moe falcon falcon_h1 falcon_mamba fast_vlm flava flex_olmo flint fnet fun_asr_nano
    fun_asr_nano_encoder funnel fuyu gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text gemma4 gemma4_audio
    gemma4_text gemma4_unified gemma4_unified_text gemma4_vision glm glm4 glm46v glm4_moe glm4_moe_lite glm4v
    glm4v_moe glm4v_moe_text glm4v_text glm5_next glm5_next_text glm_image glm_image_text glm_moe_dsa glm_ocr
    glm_ocr_text glmasr glmasr_encoder glmga got_ocr2 gpt2 gpt_bigcode gpt_neo gpt_neox gpt_neox_japanese gpt_oss
    gptj granite granite_docling granite_docling_text granite_speech granite_speech5_encoder granite_speech_plus
    granite_swa granitemoe granitemoe_swa granitemoehybrid granitemoeshared groupvit gte helium higgs_audio_v2
    hrm_text hunyuan_vl_vision hy_v3 hy_v4 hy_v4_vl hy_v4_vl_text hy_v4_vl_vision hyperclovax hyperclovax_vision_v2
    ibert idefics2 idefics3 idefics3_vision ijepa imagegpt inkling2 inkling2_loop inkling2_loop_text inkling2_text
    inkling2_vision inkling_mm_model inkling_text instructblip instructblipvideo internlm3 internvl internvl_vision
    iquestcoder jais2 jamba janus jetmoe jina_embeddings_v3 kimi_k25 kimi_k25_vision kimi_linear kolibri1 kosmos-2
    kosmos-2.5 laguna lara_mini lasr_encoder layoutlm layoutlmv3 lfm2 lfm2_vl lfm3 lfm3_vl lfm3_vl_vision
    lighton_ocr lilt llama llama4 llama4_text llava llava_next llava_next_video llava_onevision longcat_flash
    longformer luke lw_detr_vit lxmert mamba mamba2 marian markuplm mbart megatron-bert mellum metaclip_2 mgp-str
    mimi_decoder mimi_encoder mimo_v2_flash minicpm3 minicpm_ocr minicpm_ocr_vision minicpmv4_6 minicpmv4_7
    minicpmv4_7_vision minimax minimax_m2 minimax_m3_vl minimax_m3_vl_text ministral3 mistral mistral3 mistral4
    mistral_large4 mistral_large4_text mixtral mlcd_vision_model mllama mobilebert modernbert modernbert-decoder
    modernvbert molmo2 molmo2_text moonshine moss_transcribe_diarize moss_transcribe_diarize_audio mpnet mra
    muse_glimmer muse_glimmer_assistant muse_glimmer_text muse_glimmer_vision muse_spark muse_spark_audio
    muse_spark_text muse_spark_vision musicflamingo mvp nanochat nemotron3_5_transcribe_asr_audio
    nemotron3_5_transcribe_word_timestamp nemotron3_diarization_audio neomme nomic_bert nystromformer olmo olmo2
    olmo3 olmo_hybrid olmoe omniasr openai-gpt openai_privacy_filter opt ovis2 owlv2 owlvit paddleocr_vl paligemma
    parakeet_encoder patchtst pe_audio pe_audio_video pe_video pegasus persimmon phi phi3 phimoe pixio pixtral
    plbart pocket_tts_audio_tokenizer_decoder pocket_tts_audio_tokenizer_encoder pp_chart2table prophetnet
    qianfan_ocr qianfan_ocr_vision qwen2 qwen2_5_omni_thinker qwen2_5_vl qwen2_5_vl_text qwen2_audio qwen2_moe
    qwen2_vl qwen2_vl_text qwen3 qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen3_5_text qwen3_asr qwen3_moe qwen3_next
    qwen3_omni_moe_thinker qwen3_vl qwen3_vl_moe qwen3_vl_moe_text qwen3_vl_text radio recurrent_gemma reformer
    rembert rf_detr_dinov2 roberta roberta-prelayernorm roc_bert roformer rwkv sam3 sam3_lite_text_text_model
    sam3_vit_model sam_hq_vision_model sam_vision_model sarvam_mla sarvam_moe seed_oss seggpt shieldgemma2 siglip
    siglip2 siglip2_vision_model siglip_vision_model smollm3 smolvlm smolvlm_vision solar_open speech_to_text
    speecht5 splinter squeezebert stablelm starcoder2 step3p7 t5gemma2 tapas timesfm timesfm2_5 timesformer tipsv2
    tipsv2_text_model tipsv2_vision_model trocr ultrabert ultravbert unlimited_ocr vaultgemma vibevoice
    vibevoice_asr video_llama_3 video_llama_3_vision video_llava videomae videoprism vilt vipllava
    vision-text-dual-encoder visual_bert vit vit_mae vit_msn vitdet vitpose_backbone vits vivit voxtral
    voxtral_encoder voxtral_realtime voxtral_realtime_encoder wav2vec2-bert whisper xclip xglm xlm-roberta
    xlm-roberta-xl xlnet xlstm xmod yolos yoso youtu zamba zamba2 zaya
"""

KNOWN_MODELS = frozenset(_NAMES.split())
"""``model_type`` of the models of transformers 5.24 whose list of layers and embedding of tokens have the stated sizes.

Models were made from their default configurations; a type in which a number means something else is left out, such as
EfficientNet, whose ``num_hidden_layers`` does not count blocks.
"""

_PAIRS = """
    bart bigbird_pegasus blenderbot blenderbot-small fsmt led longt5 m2m_100 marian mbart mt5 mvp nllb-moe pegasus
    pegasus_x plbart pop2piano prophetnet speech_to_text switch_transformers t5 udop umt5 whisper
"""

ENCODER_DECODERS = frozenset(_PAIRS.split())
"""The same of those with an encoder and a decoder of so many layers, made with 2 and 3."""
