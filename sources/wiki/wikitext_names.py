"""The names wikitext gives a meaning: tags, templates that hold words of the sentence, namespaces, languages.

A template is dropped as a whole unless its name is here. Those here only wrap, mark or measure words that the sentence
needs; they are in no way complete, and an unknown one costs its words alone.
"""

from collections.abc import Iterable
from typing import Final

from sources.wiki.wikitext_brackets import (
    ALL,
    APOSTROPHE,
    AS_OF,
    CIRCA,
    DISAMBIGUATION,
    DOT,
    FIRST,
    FUNCTION,
    MEASURE,
    SECOND,
    SECOND_OR_FIRST,
    SPACE,
    SPACED_DASH,
    THIRD,
)
from sources.wiki.wikitext_tags import TAG_BREAK, TAG_CONTENTS, TAG_NESTED, TAG_NOWIKI, TAG_REFERENCE

_CONTENTS: Final = (  # noqa: SIM905
    "math chem ce gallery timeline syntaxhighlight source score imagemap templatestyles hiero graph maplink mapframe "
    "includeonly noinclude categorytree inputbox poem-source references ol-data pre templatedata indicator section-list "
    "style script charinsert dynamicpagelist imagelist rss quiz listing phonos"
).split()
TAGS: Final = {
    **{name.encode(): TAG_BREAK for name in "br hr p div li dd dt tr td th blockquote center poem".split()},  # noqa: SIM905
    b"nowiki": TAG_NOWIKI,
    b"ref": TAG_REFERENCE,
    b"table": TAG_NESTED,
    **{name.encode(): TAG_CONTENTS + number for number, name in enumerate(_CONTENTS)},
}

_TEMPLATES: Final = {
    FIRST: (
        "nowrap|nobr|nobold|small|smaller|big|abbr|cquote|quote|blockquote|bq|ill|interlanguage link|angbr|nihongo|"
        "nihongo2|val|num|nts|polytonic|sc|smallcaps|s-small|not a typo|sic|tooltip|vr|sup|sub|strong|em|mono|code|"
        "mvar|math2|linktext|hw|unicode|script|visible anchor|vanchor|"
        "citazione necessaria|chiarire|tutto attaccato|maiuscoletto|senza fonte|cn|"
        "仮リンク|要出典範囲|ilq|読み仮名|ルビ|jis2004フォント|補助漢字フォント|要検証範囲|en|lang-en-short|ふりがな|要説明|"
        'incise|citation|latin|"|zitat|link-de|link-en|link-fr|link-ja|link-ru|'
        "comment|nobreak|не переводить|абр|ألمانية|إنجليزية|فرنسية"
    ),
    SECOND: (
        "lang|langue|llang|transl|transliteration|script/hebrew|color|colored text|font color|nihongo krt|langx|"
        "lang-x|en langue|rtl-lang|translit|xlit|اللغة"
    ),
    THIRD: "interlang|colore",
    SECOND_OR_FIRST: "нп|нп1|нп2|нп3|нп4|нп5|iw|iw2|не перекладено|не переведено|не переведено 2|не переведено 3|не переведено 5",
    MEASURE: "convert|cvt|unité|nombre|unit|tmp|euro|mesure|conv|переведення",
    ALL: "date|date-|date de naissance|ddmmyyyy|fecha|дата",
    FUNCTION: "formatnum|lc|uc|lcfirst|ucfirst",
    CIRCA: "circa|c.|ca.",
    AS_OF: "as of",
    SPACED_DASH: "snd|spaced ndash|spnd|ndash|mdash|–|—|dash|sndash|spaced en dash",
    DOT: "•|·|dot|bull|middot",
    SPACE: "nbsp|space|spaces|sp|,|espace",
    APOSTROPHE: "'|’|'s",
    DISAMBIGUATION: (
        "disambig|disambiguation|disambigua|dab|hndis|geodis|surname|given name|set index|set index article|"
        "human name disambiguation|place name disambiguation|hospital disambiguation|school disambiguation|"
        "letter-number combination disambiguation|letter–number combination disambiguation|mathdab|numberdis|roaddis|"
        "disambig-acronym|disambig-cleanup|disambiguation cleanup|disamb|disambig2|disambiguation page|airport disambiguation|"
        "begriffsklärung|homonymie|patronyme|toponymie|desambiguación|desambiguacion|desambig|desambiguação|disambiguazione|"
        "sigla|неоднозначность|неоднозначность2|многозначность|багатозначність|disambig-людина|пояснение|пояснителна страница|"
        "aimai|曖昧さ回避|人名の曖昧さ回避|地名の曖昧さ回避|同名の地名|消歧義|消歧义|消歧義頁|消歧义页|disamb zh|동음이의|동명이인|"
        "توضيح|ابهام‌زدایی|ابهام زدایی|גדר|פירוש נוסף|dp|doorverwijspagina|ujednoznacznienie|förgrening|gren|rozcestník|"
        "täsmennyssivu|αποσαφήνιση|định hướng|trang định hướng|anlam ayrımı|dezambiguizare|egyért|disambigo|"
        "बहुविकल्पी|দ্ব্যর্থতা নিরসন|แก้ความกำกวม|flertydig|pekerside|razločitev|razvrstavanje|višeznačna odrednica"
    ),
}
TEMPLATES: Final = {
    form.encode(): action
    for action, names in _TEMPLATES.items()
    for name in names.split("|")
    for form in (name, name[:1].upper() + name[1:] if not name.isascii() else name)
    if name
}

# The namespaces whose links show no words of the article, where a dump does not name them: the large Wikipedias'.
CANONICAL_NAMESPACES: Final = ("file", "image", "category")
KNOWN_NAMESPACES: Final = tuple(
    """
    datei bild kategorie fichier catégorie archivo imagen categoría ficheiro arquivo imagem categoria immagine bestand
    afbeelding categorie файл изображение категория plik grafika kategoria ファイル 画像 カテゴリ 文件 檔案 档案 图像 圖像
    分类 分類 파일 그림 분류 ملف صورة تصنيف پرونده رده चित्र श्रेणी वर्ग категорія зображення dosya kategori tập_tin
    thể_loại αρχείο εικόνα κατηγορία চিত্র বিষয়শ্রেণী պատկեր կատեգորիա картинка fil kép fájl kategória soubor tiedosto
    luokka קובץ קטגוריה ไฟล์ หมวดหมู่ fișier imagine berkas
    """.split()  # noqa: SIM905
)

# Prefixes of interlanguage links: the languages of Wikipedia.
LANGUAGES: Final = frozenset(
    """
    aa ab ace ady af ak als alt am ami an ang ann anp ar arc ary arz as ast atj av avk awa ay az azb ba ban bar bat-smg bbc
    bcl bdr be be-tarask be-x-old bew bg bh bi bjn blk bm bn bo bpy br bs btm bug bxr ca cbk-zam cdo ce ceb ch cho chr chy
    ckb co cr crh cs csb cu cv cy da dag de dga din diq dsb dtp dty dv dz ee el eml en eo es et eu ext fa fat ff fi fiu-vro
    fj fo fon fr frp frr fur fy ga gag gan gcr gd gl glk gn gom gor got gpe gsw gu guc gur guw gv ha hak haw he hi hif ho
    hr hsb ht hu hy hyw hz ia iba id ie ig igl ii ik ilo inh io is it iu ja jam jbo jv ka kaa kab kbd kbp kcg kg kge ki kj
    kk kl km kn knc ko koi kr krc ks ksh ku kus kv kw ky la lad lb lbe lez lfn lg li lij lld lmo ln lo lrc lt ltg lv mad
    mai map-bms mdf mg mh mhr mi min mk ml mn mni mnw mo mos mr mrj ms mt mus mwl my myv mzn na nah nan nap nds nds-nl ne
    new ng nia nl nn no nov nqo nr nrm nso nup nv ny oc olo om or os pa pag pam pap pcd pcm pdc pfl pi pih pl pms pnb pnt
    ps pt pwn qu rm rmy rn ro roa-rup roa-tara ru rue rw sa sah sat sc scn sco sd se sg sh shi shn si simple sk skr sl sm
    smn sn so sq sr srn ss st stq su sv sw szl szy ta tay tcy tdd te tet tg th ti tig tk tl tly tn to tpi tr trv ts tt tum
    tw ty tyv udm ug uk ur uz ve vec vep vi vls vo wa war wo wuu xal xh xmf yi yo yue za zea zgh zh zh-classical zh-min-nan
    zh-yue zu
    """.split()  # noqa: SIM905
)


def namespace_names(names: Iterable[str]) -> dict[bytes, int]:
    """The prefixes of links that show no words: those given, in each case they may have, and the canonical ones.

    The loops know the case of ASCII letters only, so a name in another script is here as written, in lower, in upper and
    in first-letter case.
    """
    found = {*CANONICAL_NAMESPACES, *LANGUAGES}
    for name in names:
        plain = " ".join(name.replace("_", " ").split())
        for form in (plain, plain.lower(), plain.upper(), plain[:1].upper() + plain[1:].lower(), plain.title()):
            found.add(lower_ascii(form))
    return {name.encode(): 1 for name in found if name}


def lower_ascii(text: str) -> str:
    """A text whose ASCII letters are in lower case; others stay."""
    return text.encode().lower().decode()
