"""The languages and directions of the corpora that M3-Embedding names, as the corpora write them.

M3 counts 194 languages and 2,655 cross-lingual pairs (section 3.1) and lists neither. Its parallel corpora are NLLB and
CCMatrix. NLLB's release of mined bitexts, together with the pairs it takes over from CCMatrix, is 2,656 pairs
(`nllb_directions`, after OPUS's list): so near to 2,655 that M3's must be the same but for one, which is not known. `corpus_languages` lists the languages of NLLB, CCMatrix
and mC4: a superset of what M3 can have seen of them.
"""

from functools import cache
from itertools import combinations
from typing import Final

from sources.languages import language_code

# FLORES-200 and NLLB-200 (204 codes), and two that only the mined bitexts use.
_NLLB: Final = """
    ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab aka_Latn als_Latn amh_Ethi apc_Arab arb_Arab
    arb_Latn ars_Arab ary_Arab arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn bak_Cyrl bam_Latn
    ban_Latn bel_Cyrl bem_Latn ben_Beng bho_Deva bjn_Arab bjn_Latn bod_Tibt bos_Latn bug_Latn bul_Cyrl cat_Latn
    ceb_Latn ces_Latn cjk_Latn ckb_Arab crh_Latn cym_Latn dan_Latn deu_Latn dik_Latn dyu_Latn dzo_Tibt ell_Grek
    eng_Latn epo_Latn est_Latn eus_Latn ewe_Latn fao_Latn fij_Latn fin_Latn fon_Latn fra_Latn fur_Latn fuv_Latn
    gaz_Latn gla_Latn gle_Latn glg_Latn grn_Latn guj_Gujr hat_Latn hau_Latn heb_Hebr hin_Deva hne_Deva hrv_Latn
    hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn jpn_Jpan kab_Latn kac_Latn kam_Latn
    kan_Knda kas_Arab kas_Deva kat_Geor kaz_Cyrl kbp_Latn kea_Latn khk_Cyrl khm_Khmr kik_Latn kin_Latn kir_Cyrl
    kmb_Latn kmr_Latn knc_Arab knc_Latn kon_Latn kor_Hang lao_Laoo lij_Latn lim_Latn lin_Latn lit_Latn lmo_Latn
    ltg_Latn ltz_Latn lua_Latn lug_Latn luo_Latn lus_Latn lvs_Latn mag_Deva mai_Deva mal_Mlym mar_Deva min_Arab
    min_Latn mkd_Cyrl mlt_Latn mni_Beng mos_Latn mri_Latn mya_Mymr nld_Latn nno_Latn nob_Latn npi_Deva nso_Latn
    nus_Latn nya_Latn oci_Latn ory_Orya pag_Latn pan_Guru pap_Latn pbt_Arab pes_Arab plt_Latn pol_Latn por_Latn
    prs_Arab quy_Latn ron_Latn run_Latn rus_Cyrl sag_Latn san_Deva sat_Olck scn_Latn shn_Mymr sin_Sinh slk_Latn
    slv_Latn smo_Latn sna_Latn snd_Arab som_Latn sot_Latn spa_Latn srd_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn
    swh_Latn szl_Latn tam_Taml taq_Latn taq_Tfng tat_Cyrl tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi tpi_Latn
    tsn_Latn tso_Latn tuk_Latn tum_Latn tur_Latn twi_Latn tzm_Tfng uig_Arab ukr_Cyrl umb_Latn urd_Arab uzn_Latn
    vec_Latn vie_Latn war_Latn wol_Latn xho_Latn ydd_Hebr yor_Latn yue_Hant zho_Hans zho_Hant zsm_Latn zul_Latn
    diq_Latn sat_Beng
"""
NLLB_CODES: Final = tuple(_NLLB.split())

# CCMatrix (90 codes).
_CCMATRIX: Final = """
    af am ar ast az be bg bn br ca ceb cs cy da de el en eo es et eu fa fi fr fy ga gd gl ha he hi hr hu hy id ig
    ilo is it ja jv ka kk km ko la lb lg lt lv mg mk ml mr ms my ne nl no oc om or pl pt ro ru sd si sk sl so sq sr
    su sv sw ta tl tr tt uk ur uz vi wo xh yi yo zh zu
"""
CCMATRIX_CODES: Final = tuple(_CCMATRIX.split())

# mC4 3.0.1 without `und` (107 codes).
_MC4: Final = """
    af am ar az be bg bg-Latn bn ca ceb co cs cy da de el el-Latn en eo es et eu fa fi fil fr fy ga gd gl gu ha haw
    hi hi-Latn hmn ht hu hy id ig is it iw ja ja-Latn jv ka kk km kn ko ku ky la lb lo lt lv mg mi mk ml mn mr ms mt
    my ne nl no ny pa pl ps pt ro ru ru-Latn sd si sk sl sm sn so sq sr st su sv sw ta te tg th tr uk ur uz vi xh yi
    yo zh zh-Latn zu
"""
MC4_CODES: Final = tuple(_MC4.split())

# The bitexts of NLLB, those of CCMatrix among them: in each of these groups every language with every other one,
_ALL_WITH_ALL: Final = (
    """
    afr_Latn aka_Latn amh_Ethi bam_Latn bem_Latn cjk_Latn dik_Latn dyu_Latn eng_Latn ewe_Latn fon_Latn fra_Latn
    fuv_Latn gaz_Latn hau_Latn ibo_Latn kam_Latn kik_Latn kin_Latn kmb_Latn knc_Arab knc_Latn kon_Latn lin_Latn
    lua_Latn lug_Latn luo_Latn nso_Latn nus_Latn nya_Latn run_Latn sna_Latn som_Latn sot_Latn ssw_Latn swh_Latn
    tir_Ethi tsn_Latn tso_Latn tum_Latn twi_Latn umb_Latn wol_Latn xho_Latn yor_Latn zul_Latn
    """,
    """
    arb_Arab ben_Beng ces_Latn deu_Latn ell_Grek eng_Latn est_Latn fin_Latn heb_Hebr hin_Deva hun_Latn ind_Latn
    kor_Hang lit_Latn lvs_Latn nld_Latn pes_Arab pol_Latn por_Latn rus_Cyrl slk_Latn slv_Latn spa_Latn srp_Cyrl
    swe_Latn tam_Taml tur_Latn ukr_Cyrl vie_Latn zho_Hans
    """,
    """
    asm_Beng awa_Deva bho_Deva guj_Gujr hin_Deva hne_Deva kan_Knda kas_Arab kas_Deva mag_Deva mai_Deva mal_Mlym
    mar_Deva npi_Deva ory_Orya pan_Guru san_Deva sat_Beng sin_Sinh snd_Arab tel_Telu urd_Arab
    """,
    """
    ace_Latn ban_Latn bjn_Latn bug_Latn ceb_Latn eng_Latn fij_Latn ilo_Latn jav_Latn min_Latn mri_Latn plt_Latn
    smo_Latn sun_Latn war_Latn
    """,
    """
    als_Latn bel_Cyrl bul_Cyrl dan_Latn epo_Latn hun_Latn ita_Latn nob_Latn ron_Latn
    """,
    """
    bak_Cyrl crh_Latn eng_Latn kir_Cyrl tat_Cyrl tuk_Latn uig_Arab uzn_Latn
    """,
)
# and the first language of each line with all others of it.
_FIRST_WITH_OTHERS: Final = """
    eng_Latn: als_Latn asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn bel_Cyrl bho_Deva bod_Tibt bos_Latn
        bul_Cyrl cat_Latn ckb_Arab cym_Latn dan_Latn diq_Latn dzo_Tibt epo_Latn fao_Latn fur_Latn gla_Latn gle_Latn
        glg_Latn grn_Latn guj_Gujr hat_Latn hne_Deva hrv_Latn hye_Armn isl_Latn ita_Latn jpn_Jpan kab_Latn kac_Latn
        kan_Knda kas_Arab kas_Deva kat_Geor kaz_Cyrl kbp_Latn kea_Latn khk_Cyrl khm_Khmr kmr_Latn lao_Laoo lij_Latn
        lim_Latn lmo_Latn ltg_Latn ltz_Latn lus_Latn mag_Deva mai_Deva mal_Mlym mar_Deva mkd_Cyrl mlt_Latn mni_Beng
        mos_Latn mya_Mymr nob_Latn npi_Deva oci_Latn ory_Orya pag_Latn pan_Guru pap_Latn pbt_Arab prs_Arab quy_Latn
        ron_Latn sag_Latn san_Deva sat_Beng scn_Latn shn_Mymr sin_Sinh snd_Arab srd_Latn szl_Latn taq_Latn tel_Telu
        tgk_Cyrl tgl_Latn tpi_Latn tzm_Tfng urd_Arab vec_Latn ydd_Hebr zho_Hant zsm_Latn
    fra_Latn: arb_Arab ast_Latn ben_Beng bul_Cyrl cat_Latn ces_Latn dan_Latn deu_Latn ell_Grek epo_Latn est_Latn
        fin_Latn glg_Latn hat_Latn heb_Hebr hin_Deva hrv_Latn hun_Latn ind_Latn ita_Latn jpn_Jpan kab_Latn kor_Hang
        lit_Latn ltz_Latn lvs_Latn mal_Mlym nld_Latn nob_Latn oci_Latn pes_Arab plt_Latn pol_Latn por_Latn ron_Latn
        rus_Cyrl sag_Latn scn_Latn slk_Latn slv_Latn spa_Latn srp_Cyrl swe_Latn tam_Taml tgl_Latn tur_Latn tzm_Tfng
        ukr_Cyrl vie_Latn zho_Hans zsm_Latn
    arb_Arab: als_Latn azj_Latn bul_Cyrl cat_Latn ckb_Arab crh_Latn dan_Latn dik_Latn diq_Latn epo_Latn fuv_Latn
        gaz_Latn hrv_Latn hye_Armn ita_Latn jpn_Jpan kat_Geor kaz_Cyrl khm_Khmr kmr_Latn knc_Latn lug_Latn mal_Mlym
        mar_Deva mya_Mymr nob_Latn npi_Deva nus_Latn ory_Orya ron_Latn sin_Sinh snd_Arab som_Latn swh_Latn tat_Cyrl
        tgl_Latn tzm_Tfng urd_Arab uzn_Latn wol_Latn xho_Latn zsm_Latn zul_Latn
    jpn_Jpan: ben_Beng bul_Cyrl ceb_Latn ces_Latn dan_Latn deu_Latn ell_Grek fin_Latn heb_Hebr hin_Deva hun_Latn
        ind_Latn ita_Latn kor_Hang lit_Latn mal_Mlym nld_Latn nob_Latn pes_Arab pol_Latn por_Latn ron_Latn rus_Cyrl
        slk_Latn slv_Latn spa_Latn srp_Cyrl swe_Latn swh_Latn tam_Taml tgl_Latn tur_Latn ukr_Cyrl vie_Latn zho_Hans
        zsm_Latn
    ben_Beng: asm_Beng awa_Deva bel_Cyrl bho_Deva bul_Cyrl cat_Latn epo_Latn guj_Gujr hne_Deva ilo_Latn ita_Latn
        kan_Knda kas_Arab kas_Deva mag_Deva mai_Deva mal_Mlym mar_Deva mkd_Cyrl npi_Deva ory_Orya pan_Guru pbt_Arab
        plt_Latn ron_Latn san_Deva sat_Beng sin_Sinh snd_Arab swh_Latn tel_Telu tgl_Latn urd_Arab zsm_Latn
    nob_Latn: afr_Latn cat_Latn ces_Latn deu_Latn ell_Grek est_Latn fin_Latn gla_Latn heb_Hebr hrv_Latn ind_Latn
        isl_Latn kor_Hang lit_Latn ltz_Latn lvs_Latn mkd_Cyrl nld_Latn pes_Arab pol_Latn por_Latn rus_Cyrl slk_Latn
        slv_Latn spa_Latn srp_Cyrl swe_Latn tam_Taml tur_Latn ukr_Cyrl vie_Latn ydd_Hebr zho_Hans
    dan_Latn: afr_Latn cat_Latn ces_Latn deu_Latn ell_Grek est_Latn fin_Latn gla_Latn heb_Hebr hrv_Latn ind_Latn
        isl_Latn kor_Hang lit_Latn ltz_Latn lvs_Latn mkd_Cyrl nld_Latn pes_Arab pol_Latn por_Latn rus_Cyrl slk_Latn
        slv_Latn spa_Latn srp_Cyrl swe_Latn tam_Taml tur_Latn ukr_Cyrl vie_Latn ydd_Hebr zho_Hans
    swh_Latn: bel_Cyrl bul_Cyrl cat_Latn ces_Latn deu_Latn ell_Grek epo_Latn est_Latn fin_Latn heb_Hebr hin_Deva
        hun_Latn ind_Latn ita_Latn kor_Hang lit_Latn lvs_Latn nld_Latn pes_Arab pol_Latn por_Latn rus_Cyrl slk_Latn
        slv_Latn spa_Latn srp_Cyrl swe_Latn tam_Taml tur_Latn ukr_Cyrl vie_Latn zho_Hans
    ron_Latn: ast_Latn cat_Latn ces_Latn deu_Latn ell_Grek est_Latn fin_Latn glg_Latn heb_Hebr hin_Deva hrv_Latn
        ind_Latn lit_Latn lvs_Latn mkd_Cyrl nld_Latn oci_Latn pes_Arab pol_Latn por_Latn slk_Latn slv_Latn spa_Latn
        srp_Cyrl swe_Latn tam_Taml tur_Latn ukr_Cyrl vie_Latn zho_Hans
    ita_Latn: ast_Latn cat_Latn ces_Latn deu_Latn ell_Grek est_Latn fin_Latn glg_Latn hin_Deva ind_Latn kor_Hang
        lit_Latn lvs_Latn nld_Latn oci_Latn pes_Arab pol_Latn por_Latn rus_Cyrl slk_Latn slv_Latn spa_Latn srp_Cyrl
        swe_Latn tam_Taml tur_Latn ukr_Cyrl vie_Latn zho_Hans
    bul_Cyrl: cat_Latn ces_Latn deu_Latn ell_Grek est_Latn fin_Latn heb_Hebr hin_Deva hrv_Latn ind_Latn kor_Hang
        lit_Latn lvs_Latn mkd_Cyrl nld_Latn pol_Latn por_Latn rus_Cyrl slk_Latn slv_Latn spa_Latn srp_Cyrl swe_Latn
        tam_Taml tur_Latn ukr_Cyrl vie_Latn zho_Hans
    tam_Taml: asm_Beng awa_Deva bho_Deva cat_Latn guj_Gujr hne_Deva hrv_Latn kan_Knda kas_Arab kas_Deva mag_Deva
        mai_Deva mal_Mlym mar_Deva npi_Deva ory_Orya pan_Guru pbt_Arab plt_Latn san_Deva sat_Beng sin_Sinh snd_Arab
        tel_Telu tgl_Latn urd_Arab zsm_Latn
    ind_Latn: ace_Latn azj_Latn ban_Latn bjn_Latn cat_Latn ceb_Latn ilo_Latn jav_Latn khm_Khmr lao_Laoo mal_Mlym
        mar_Deva min_Latn mya_Mymr npi_Deva plt_Latn shn_Mymr sin_Sinh sun_Latn tgl_Latn urd_Arab zsm_Latn
    rus_Cyrl: als_Latn azj_Latn bak_Cyrl bel_Cyrl crh_Latn hrv_Latn hye_Armn kat_Geor kir_Cyrl lao_Laoo ltg_Latn
        mal_Mlym mar_Deva mkd_Cyrl npi_Deva plt_Latn sin_Sinh tat_Cyrl tgk_Cyrl tgl_Latn urd_Arab zsm_Latn
    als_Latn: cat_Latn ces_Latn deu_Latn ell_Grek est_Latn fin_Latn heb_Hebr hrv_Latn lit_Latn lvs_Latn mkd_Cyrl
        pes_Arab pol_Latn slk_Latn slv_Latn spa_Latn srp_Cyrl swe_Latn tur_Latn ukr_Cyrl
    epo_Latn: cat_Latn ces_Latn deu_Latn ell_Grek est_Latn fin_Latn heb_Hebr hrv_Latn lit_Latn lvs_Latn mkd_Cyrl
        nld_Latn pes_Arab slk_Latn slv_Latn spa_Latn srp_Cyrl swe_Latn ukr_Cyrl
    bel_Cyrl: ces_Latn deu_Latn ell_Grek est_Latn fin_Latn hin_Deva hrv_Latn lit_Latn lvs_Latn nld_Latn pol_Latn
        slk_Latn slv_Latn srp_Cyrl swe_Latn tur_Latn ukr_Cyrl vie_Latn
    mkd_Cyrl: ces_Latn deu_Latn est_Latn fin_Latn hrv_Latn hun_Latn kor_Hang lit_Latn lvs_Latn nld_Latn pol_Latn
        slk_Latn slv_Latn spa_Latn swe_Latn ukr_Cyrl vie_Latn zho_Hans
    cat_Latn: ast_Latn ell_Grek est_Latn fin_Latn glg_Latn heb_Hebr hin_Deva hun_Latn lit_Latn lvs_Latn oci_Latn
        pes_Arab por_Latn slk_Latn slv_Latn spa_Latn srp_Cyrl ukr_Cyrl
    tur_Latn: afr_Latn azj_Latn glg_Latn hye_Armn kat_Geor kaz_Cyrl khm_Khmr mal_Mlym mar_Deva mya_Mymr npi_Deva
        sin_Sinh tgl_Latn urd_Arab uzn_Latn zsm_Latn
    deu_Latn: afr_Latn ceb_Latn hau_Latn hrv_Latn ilo_Latn isl_Latn jav_Latn ltz_Latn mal_Mlym plt_Latn sun_Latn
        tgl_Latn ydd_Hebr yor_Latn zsm_Latn
    pag_Latn: ace_Latn ban_Latn bjn_Latn bug_Latn ceb_Latn fij_Latn ilo_Latn jav_Latn min_Latn mri_Latn plt_Latn
        smo_Latn sun_Latn
    hrv_Latn: ces_Latn est_Latn fin_Latn hun_Latn lit_Latn lvs_Latn pes_Arab pol_Latn slk_Latn slv_Latn srp_Cyrl
        ukr_Cyrl zho_Hans
    tgl_Latn: ceb_Latn heb_Hebr hin_Deva ilo_Latn jav_Latn mal_Mlym pes_Arab plt_Latn sun_Latn vie_Latn zho_Hans
        zsm_Latn
    zsm_Latn: ceb_Latn heb_Hebr hin_Deva ilo_Latn jav_Latn mal_Mlym pes_Arab plt_Latn sun_Latn vie_Latn zho_Hans
    nld_Latn: afr_Latn cym_Latn gla_Latn gle_Latn hau_Latn ibo_Latn isl_Latn ltz_Latn som_Latn ydd_Hebr yor_Latn
    por_Latn: ast_Latn ayr_Latn cjk_Latn glg_Latn grn_Latn kea_Latn kmb_Latn oci_Latn quy_Latn
    pes_Arab: mal_Mlym mar_Deva npi_Deva ory_Orya sin_Sinh snd_Arab urd_Arab uzn_Latn
    azj_Latn: hye_Armn kat_Geor kaz_Cyrl khm_Khmr mya_Mymr tat_Cyrl vie_Latn
    mal_Mlym: ceb_Latn heb_Hebr ilo_Latn jav_Latn plt_Latn sun_Latn zho_Hans
    hin_Deva: ceb_Latn fij_Latn ilo_Latn jav_Latn pbt_Arab plt_Latn
    hye_Armn: kat_Geor kaz_Cyrl khm_Khmr mya_Mymr tat_Cyrl vie_Latn
    heb_Hebr: mar_Deva npi_Deva plt_Latn sin_Sinh urd_Arab
    spa_Latn: ast_Latn ayr_Latn glg_Latn oci_Latn quy_Latn
    prs_Arab: ckb_Arab diq_Latn kmr_Latn pbt_Arab tgk_Cyrl
    afr_Latn: isl_Latn ltz_Latn swe_Latn ydd_Hebr
    diq_Latn: ckb_Arab kmr_Latn pbt_Arab tgk_Cyrl
    zho_Hans: ltz_Latn plt_Latn ydd_Hebr
    kat_Geor: kaz_Cyrl tat_Cyrl vie_Latn
    ckb_Arab: kmr_Latn pbt_Arab tgk_Cyrl
    hun_Latn: gaz_Latn xho_Latn zul_Latn
    isl_Latn: ltz_Latn swe_Latn ydd_Hebr
    ast_Latn: glg_Latn oci_Latn
    kmr_Latn: pbt_Arab tgk_Cyrl
    kaz_Cyrl: tat_Cyrl vie_Latn
    pbt_Arab: tgk_Cyrl
    lit_Latn: plt_Latn
    glg_Latn: oci_Latn
"""


@cache
def corpus_languages() -> tuple[str, ...]:
    """The languages of NLLB, CCMatrix and mC4 as ISO 639-3 with script, sorted, each once."""
    return tuple(sorted({language_code(tag) for tag in (*NLLB_CODES, *CCMATRIX_CODES, *MC4_CODES)}))


@cache
def nllb_directions() -> tuple[tuple[str, str], ...]:
    """The 2,656 pairs of languages that NLLB's bitexts come in, each in alphabetical order, sorted, with NLLB's codes."""
    groups = [pair for group in _ALL_WITH_ALL for pair in combinations(group.split(), 2)]
    lines = _FIRST_WITH_OTHERS.replace(":", " :").split()
    first = ""
    stars: list[tuple[str, str]] = []
    for word, following in zip(lines, [*lines[1:], ""], strict=True):
        if following == ":":
            first = word
        elif word != ":":
            stars.append((first, word))
    return tuple(sorted({(min(pair), max(pair)) for pair in (*groups, *stars)}))
