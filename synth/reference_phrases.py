"""Words by which a question leans on the text it was written from: "this text", "the passage above", "did she", 这段, この文章.

Somebody who searches has not seen that text: M3's prompt asks to avoid them, and models use them nevertheless. The lists are ours,
for the thirteen languages of MLDR, and strict: a question that is good all the same costs one question, a bad one that stays is
a wrong pair. Expressions of RE2, for Arrow; letters before and behind are those of any script.
"""

from typing import Final, NamedTuple


class Phrases(NamedTuple):
    """`found`, unless all places where it is found are `excused` ones (there are as many of these)."""

    found: str
    excused: str = ""


_BEFORE: Final = r"(?:^|[^\pL\pM\pN])"
_BEHIND: Final = r"(?:[^\pL\pM\pN]|$)"


def _words(expression: str, case: bool = False) -> str:
    return f"{'' if case else '(?i)'}{_BEFORE}(?:{expression}){_BEHIND}"


def _early(expression: str, words: int, case: bool = False) -> str:
    """Within or right behind the first `words` words."""
    return rf"{'' if case else '(?i)'}^(?:[^\s,:;]+\s+){{1,{words}}}(?:{expression}){_BEHIND}"


_EN_TEXT: Final = "text|passage|paragraph|excerpt|article|document|section|snippet|sentence|statement|extract|context|content|information|description"
_EN_TELLS: Final = "mention|describe|discuss|say|state|refer|explain|provide|suggest|tell|argue|claim|talk|highlight|emphasi[sz]e|imply"

# The text itself is named.
TEXT: Final[dict[str, Phrases]] = {
    "eng": Phrases(
        _words(
            rf"(?:this|that|above|following|given|provided|preceding|aforementioned|previous|present) (?:{_EN_TEXT}|story|list|table|figure|example|scenario|case)s?"
            rf"|(?:according to|based on|as per) (?:the )?(?:{_EN_TEXT}|author|speaker|writer|narrator)s?"
            rf"|(?:in|from|by) the (?:passage|paragraph|excerpt|snippet|text|article|given [a-z]+|provided [a-z]+)"
            rf"|(?:mentioned|described|discussed|stated|provided|outlined|presented|cited|listed|explained|referred to) (?:above|below|here|earlier|(?:in|by) the (?:{_EN_TEXT}|author))"
            rf"|the (?:{_EN_TEXT}|author|writer|narrator|speaker)s?(?: \w+)? (?:{_EN_TELLS})(?:s|es|d|ed|ing)?"
            rf"|(?:main|central|key|primary) (?:idea|topic|point|purpose|theme|subject|focus|message) of (?:the|this|that)? ?(?:{_EN_TEXT}|author)"
            r"|above-mentioned|abovementioned|aforementioned|the above|the following"
        )
    ),
    "deu": Phrases(
        _words(
            r"(?:(?:vorliegend|obig|obenstehend|vorstehend|vorangehend|vorherig|gegeben|genannt|folgend|bereitgestellt|beschrieben|erwähnt)e[rmns]?) (?:Text\w*|Absatz\w*|Abschnitts?|Artikels?|Passage|Dokuments?|Auszugs?|Beschreibung|Informationen|Satz\w*|Stelle)"
            r"|(?:im|laut|aus dem|in dem|nach dem|gemäß dem|laut dem|laut des|zufolge dem) (?:Text|Textes|Textauszug|Auszug|Textabschnitt|Textstelle|Artikeltext)"
            r"|(?:laut|gemäß|nach) (?:dem|des) (?:Artikels?|Abschnitts?|Dokuments?|Autors?)"
            r"|(?:im|in dem) (?:Artikel|Abschnitt|Dokument|Absatz) (?:erwähnt|beschrieben|genannt|erklärt|behandelt)\w*"
            r"|der (?:Text|Autor|Verfasser|Abschnitt|Artikel) (?:sagt|erwähnt|beschreibt|behandelt|nennt|meint|behauptet)"
            r"|(?:oben|vorstehend|hier|bereits|unten) (?:genannt|erwähnt|beschrieben|aufgeführt)\w*|obengenannt\w*|obig\w*"
        )
    ),
    "fra": Phrases(
        _words(
            r"(?:dans|selon|d[’']après|d’après|à travers|suivant) (?:le|la|l[’']|ce|cet|cette) ?(?:texte|passage|paragraphe|article|extrait|document|auteur|section)"
            r"|(?:le|ce) (?:texte|passage|paragraphe|document|présent texte) (?:mentionne|décrit|dit|explique|parle|évoque|traite|cite)\w*"
            r"|l[’']auteur (?:mentionne|décrit|dit|explique|parle|évoque|pense|affirme)\w*"
            r"|(?:mentionn|cit|décrit|évoqu|énonc|susmentionn)\w* (?:ci-dessus|ci-dessous|plus haut|dans le texte)|susmentionn\w+|ci-dessus|ci-dessous|ci-après"
        )
    ),
    "spa": Phrases(
        _words(
            r"(?:según|en|de acuerdo con|conforme a|del|por) (?:el )?(?:texto|pasaje|párrafo|extracto|fragmento|presente artículo|documento anterior)"
            r"|(?:según|de acuerdo con) el (?:artículo|documento|autor)"
            r"|el (?:texto|pasaje|párrafo|autor|fragmento) (?:menciona|describe|dice|explica|habla|afirma)\w*"
            r"|(?:mencionad|citad|descrit|señalad)[oa]s? (?:arriba|anteriormente|antes|en el texto|en el artículo)|(?:antes|arriba) mencionad[oa]s?|lo anterior"
        )
    ),
    "ita": Phrases(
        _words(
            r"(?:nel|secondo il|dal|in base al|del|sul) (?:testo|brano|passaggio|paragrafo|presente documento|presente articolo|estratto)"
            r"|secondo l[’'](?:autore|articolo|estratto)|secondo il documento"
            r"|(?:il testo|il brano|l[’']autore|il passaggio) (?:menziona|descrive|dice|spiega|parla|afferma)\w*"
            r"|(?:menzionat|citat|descritt|indicat)[oaie] (?:sopra|in precedenza|nel testo|nell[’']articolo)|(?:sopra|suddett|summenzionat|sopracitat)[oaie]+"
        )
    ),
    "por": Phrases(
        _words(
            r"(?:no|segundo o|de acordo com o|conforme o|com base no|do) (?:texto|trecho|parágrafo|excerto|fragmento|presente artigo|documento acima)"
            r"|(?:segundo|de acordo com|conforme) o (?:artigo|documento|autor)"
            r"|o (?:texto|trecho|autor|parágrafo) (?:menciona|descreve|diz|explica|fala|afirma)\w*"
            r"|(?:mencionad|citad|descrit|referid)[oa]s? (?:acima|anteriormente|no texto|no artigo)|(?:acima|supra) ?(?:mencionad|citad)[oa]s?"
        )
    ),
    "rus": Phrases(
        _words(
            r"(?:в|из|по|согласно|исходя из) (?:приведённ\pL+ |приведенн\pL+ |данн\pL+ |представленн\pL+ |предложенн\pL+ )?(?:тексте|тексту|текста|отрывке|отрывка|отрывку|абзаце|абзаца|фрагменте|фрагмента|фрагменту)"
            r"|(?:данн|приведённ|приведенн|представленн|настоящ)\pL+ (?:текст|отрыв|абзац|стать|документ|фрагмент)\pL*"
            r"|(?:текст|автор|отрывок) (?:упомина|описыва|говор|объясня|утвержда)\pL+"
            r"|(?:упомянут|описанн|указанн)\pL+ (?:выше|ниже|в тексте|в статье)|выше(?:упомянут|указанн|описанн|приведённ|приведенн)\pL+"
        )
    ),
    "ara": Phrases(
        r"(?:في|حسب|بحسب|وفق|وفقا|وفقًا|من خلال|بناء على|بناءً على|استنادًا إلى|من)\s+(?:لهذا |لهذه |هذا |هذه )?(?:لل|ال)(?:نص|مقطع|فقرة|مقتطف|كاتب|مؤلف|مقال|مقالة)(?:[^\pL]|$)"
        r"|(?:النص|المقطع|الفقرة|المقال|المقالة) (?:أعلاه|السابق|السابقة|التالي|التالية|المذكور|المذكورة|المقدم|المعطى)|أعلاه|المذكورة? (?:أعلاه|سابقا|سابقًا|في النص)"
        r"|(?:الكاتب|المؤلف|النص) (?:يذكر|يصف|يقول|يوضح)|(?:يذكر|يصف|يقول|يوضح|يشير) (?:الكاتب|المؤلف|النص)"
    ),
    "hin": Phrases(
        r"(?:पाठ|गद्यांश|लेख|लेखक|अंश|दस्तावेज़|परिच्छेद) के (?:अनुसार|आधार पर|मुताबिक)|(?:पाठ|गद्यांश|लेख|परिच्छेद) में"
        r"|(?:उपरोक्त|उपर्युक्त|निम्नलिखित|दिए गए|ऊपर दिए|प्रस्तुत) |ऊपर (?:उल्लिखित|वर्णित)|लेखक (?:ने|के अनुसार|क्या)"
    ),
    "jpn": Phrases(
        r"本文|本稿|本記事|本節|本章|文中|上記|上述|前述|下記|次の(?:文章|段落|文)|文章(?:中|に|の中|では|によ|から|で述べ|が)|記事(?:に|の中|では|によ|で述べ)"
        r"|テキスト(?:によ|の中|では|で述べ)|段落(?:によ|の中|では|で述べ)|(?:著者|筆者|作者)(?:は|が|によ).*(?:述べ|言|考え|主張|説明)|与えられた(?:文|テキスト)"
    ),
    "kor": Phrases(
        r"(?:^|\s)(?:이|그|해당|본|위|위의|다음|다음의|상기|아래|아래의|주어진|제시된) ?(?:글|문서|문단|단락|기사|문장|내용|텍스트|자료|지문|구절|본문|설명)"
        r"|본문(?:에|의|은|을)|(?:글|텍스트|지문)에 (?:따르면|의하면|나온|언급)|앞서 언급|위에서 언급|상기|저자(?:는|가|에 따르면)|글쓴이|필자"
    ),
    "tha": Phrases(
        r"(?:ข้อความ|บทความ|ย่อหน้า|เนื้อหา|เอกสาร|เรื่อง)(?:นี้|ข้างต้น|ดังกล่าว|ที่ให้มา|ต่อไปนี้)|(?:ตาม|จาก|ใน)(?:ข้อความ|บทความ|ย่อหน้า|เนื้อหา)|ข้างต้น|ผู้เขียน(?:กล่าว|ระบุ|คิด|อธิบาย)|ต่อไปนี้"
    ),
    "zho": Phrases(
        r"本文|此文|该文|該文|本段|该段|該段|上文|上述|前文|下文|文中|原文|文章(?:中|里|裡|提到|主要|认为|認為|讲|講|的主|内容|內容|作者)|作者(?:认为|認為|提到|指出|如何看|主要|在文)"
        r"|(?:以上|以下|下面|上面|前面|给定|給定|提供)的?(?:内容|內容|文字|文本|信息|資訊|段落|描述|文章|材料|短文)|(?:根据|根據|依据|依據|按照)(?:文|上|以上|段|该|該|材料|短文|资料)|段落(?:中|里|提到|主要)"
        r"|(?:第一|上|下|前)段|下列"
    ),
}

# A word points at something that the question does not name.
POINTING: Final[dict[str, Phrases]] = {
    "eng": Phrases(
        _words("this|these|(?:in )?such an? (?:case|scenario|situation|context|way)|the (?:said|aforesaid)")
    ),
    "deu": Phrases(_words("diese[rmns]?|dies|jene[rmns]?|desselben|derselben|ebendiese[rmns]?")),
    "fra": Phrases(
        rf"(?i){_BEFORE}(?:cette|cet|ces|ceci|cela|celui-ci|celle-ci|ceux-ci|celles-ci){_BEHIND}|(?i:(?:^|[\s(«])ce \pL)",
        r"(?i)(?:^|[\s(«])ce (?:qui|que|qu[’']|dont|sont|soit|serait|sera|fut|furent|était|n[’'])",
    ),
    "spa": Phrases(
        _words("este|esta|estos|estas|esto|dich[oa]s?|ese|esa|esos|esas|eso|aquell?[oa]s?|aquel"),
        r"(?i)(?:^|\W)(?:del|al|el|hacia el|sur|nor|nordes) ?este(?:\W|$)|este de (?:\p{Lu})|(?:^|\W)eso sí",
    ),
    "ita": Phrases(rf"(?i){_BEFORE}(?:quest[oaie]{_BEHIND}|quest[’'])|{_BEFORE}(?i:suddett[oaie]){_BEHIND}"),
    "por": Phrases(
        _words("(?:d|n)?est[ae]s?|(?:d|n)?ess[ae]s?|(?:d|n)?isto|(?:d|n)?isso|aquel[ae]s?|aquilo"),
        r"(?i)além disso|por isso|(?:do|ao|no|o) este|este de \p{Lu}",
    ),
    "rus": Phrases(
        _words("эт(?:от|а|о|и|ого|ой|ому|ом|им|ими|их|у)|такого рода"), r"(?i)(?:^|\s)что это такое|при этом"
    ),
    "ara": Phrases(r"(?:^|[^\pL])[وفبلك]?(?:هذا|هذه|هذان|هذين|هاتان|هاتين|هؤلاء)(?:[^\pL]|$)"),
    "hin": Phrases(r"(?:^|\s)(?:इस|इन|यह|ये|इन्हीं|इसी)(?:[\s?।]|$)"),
    "jpn": Phrases(r"(?:^|[^どそ])この|これ(?:は|を|に|が|の|ら|で)|当該|そのような", "この(?:間|頃)"),
    "kor": Phrases(r"(?:^|\s)(?:이|이것|이것은|이것이|이것을|이러한|이런|이는|이를|이들|이들은|이들의|해당) "),
    "tha": Phrases("นี้|ดังกล่าว", "วันนี้|ขณะนี้|ดังนี้|ตอนนี้|ปัจจุบันนี้"),
    "zho": Phrases(
        "这|這|该|該|此(?:人|书|書|法|类|類|处|處|事|次|时|時|外)",
        "[」》”』] ?(?:这|這)|应该|應該|该如何|該如何|该怎|該怎|因此",
    ),
}

# A pronoun stands where the subject should: nothing before it can be what it means.
PRONOUN: Final[dict[str, Phrases]] = {
    "eng": Phrases(
        rf"{_early('he|she|they|him|them|it', 3)}|{_early('his|her|their|its', 2)}",
        r"(?i)(?:^|\s)it (?:is |be )?(?:also |so |still )?(?:possible|impossible|important|necessary|mean|means|take|takes|matter|called|known|that|difficult|hard|easy|easier|common|allowed|forbidden|worth|safe|legal|illegal|advisable|recommended|likely|true|required|useful|better|best|to|crucial|essential|desirable|cost|costs|beneficial|appropriate|time|sometimes|often|still)(?:\W|$)",
    ),
    "deu": Phrases(_early("er|ihm|ihn|sie|ihnen", 2, case=True)),
    "fra": Phrases(
        rf"(?i)^[^\s]+\s+(?:[^\s]+-)?(?:il|elle|ils|elles){_BEHIND}",
        r"(?i)il (?:important|possible|nécessaire|difficile|utile|recommandé|essentiel|interdit|préférable|obligatoire|conseillé|faut|faudrait)|(?:faut|peut|y a-t)-il",
    ),
    "spa": Phrases(_early("él|ella|ellos|ellas|su|sus", 2)),
    "ita": Phrases(_early("lui|lei|loro|esso|essa|essi|esse|egli|ella", 3)),
    "por": Phrases(_early("ele|ela|eles|elas|seu|sua|seus|suas", 2)),
    "rus": Phrases(_early("он|она|оно|они|его|её|ее|их|ему|ей|ним|ней", 2)),
    "hin": Phrases(
        r"^(?:[^\s]+\s+){0,2}(?:वह|वे|उसने|उन्होंने|उसका|उसके|उसकी|उनका|उनके|उनकी|इसका|इसके|इसकी|इसमें|इससे|इसे|इनके|इनका)(?:[\s?]|$)"
    ),
    "jpn": Phrases("^.{0,2}(?:その|それ|彼女|そこ|彼(?:は|が|の|ら|を|に))", "その他"),
    "kor": Phrases(r"^(?:[^\s]+\s+){0,2}(?:그|그녀|그들|그것)(?:는|은|가|이|의|를|을|에게)? "),
    "zho": Phrases(
        "^(?:.{0,12}[，,])?(?:请问|請問|为何|為何|为什么|為什麼|何时|何時|那么|那麼)?(?:他|她|它|牠)(?:[^人国國]|$)"
    ),
}
