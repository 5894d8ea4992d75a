"""Headings and phrases of what stands around a document's subject: references, links, licences, navigation.

In the thirteen languages of MLDR. Headings are compared whole, case folded, without numbers and marks; phrases are looked for in
a paragraph.
"""

import re
from typing import Final

_HEADINGS: Final = """
references|external links|see also|notes|bibliography|further reading|sources|footnotes|citations|works cited|contents|index
table of contents|copyright|license|licence|acknowledgements|acknowledgments|about this document|legal notice|credits|changelog
einzelnachweise|weblinks|literatur|siehe auch|anmerkungen|quellen|fußnoten|inhaltsverzeichnis|inhaltsübersicht|impressum|fundstelle
references|notes et références|références|liens externes|voir aussi|bibliographie|articles connexes|annexes|sommaire|table des matières
referencias|enlaces externos|véase también|bibliografía|notas|índice|contenido|agradecimientos|aviso legal
note|bibliografia|voci correlate|collegamenti esterni|altri progetti|riferimenti|indice|sommario|ringraziamenti|fonti
referências|ligações externas|ver também|notas e referências|leitura complementar|sumário|conteúdo|agradecimentos
примечания|ссылки|см. также|литература|источники|комментарии|сноски|содержание|оглавление|благодарности
脚注|参考文献|外部リンク|関連項目|出典|注釈|関連文献|参照|目次|著作権|謝辞|索引
参考资料|參考資料|參考文獻|外部链接|外部連結|参见|參見|注释|注釋|注解|延伸阅读|延伸閱讀|目录|目錄|版权|版權|致谢|致謝
각주|외부 링크|같이 보기|참고 문헌|참고문헌|주해|참고 자료|내용주|출처|목차|차례|저작권
مراجع|المراجع|وصلات خارجية|انظر أيضا|انظر أيضًا|ملاحظات|هوامش|المصادر|مصادر|المحتويات|روابط خارجية
संदर्भ|सन्दर्भ|बाहरी कड़ियाँ|इन्हें भी देखें|टिप्पणी|स्रोत|विषय सूची|अनुक्रम
อ้างอิง|แหล่งข้อมูลอื่น|ดูเพิ่ม|เชิงอรรถ|หมายเหตุ|บรรณานุกรม|สารบัญ
"""
_APPARATUS: Final = frozenset(name.strip() for name in _HEADINGS.replace("\n", "|").split("|") if name.strip())
_DECORATION: Final = re.compile(r"^[\W\d]+|[\W_]+$")

_PHRASES: Final = (
    # Copyright and licences.
    r"all rights reserved",
    r"copyright (?:©|\(c\)|\d)",
    r"©",
    r"(?:licensed|released|distributed|available) under the (?:terms of )?(?:the )?(?:GNU|MIT|Apache|Creative|BSD|CC)",
    r"permission is (?:hereby )?granted",
    r"without (?:even the implied )?warranty",
    r"creative commons",
    r"alle rechte vorbehalten",
    r"tous droits réservés",
    r"(?:todos los derechos reservados|todos os direitos reservados|tutti i diritti riservati)",
    r"все права (?:защищены|сохранены)",
    r"(?:著作権|版权所有|版權所有|转载请|轉載請|無断転載|저작권자|무단 ?전재|جميع الحقوق محفوظة|सर्वाधिकार सुरक्षित|สงวนลิขสิทธิ์)",
    # The machinery of web pages.
    r"(?:accept|use[sd]?|enable|our) cookies",
    r"cookies? (?:policy|verwendet|zu)|verwendet cookies|utilise des cookies|utiliza cookies|utilizza cookie",
    r"(?:privacy policy|terms of (?:use|service)|datenschutzerklärung|nutzungsbedingungen|mentions légales|aviso de privacidad)",
    r"(?:click here|read more|sign (?:up|in)|log ?in to|subscribe to|share (?:this|on)|follow us|skip to)",
    r"(?:hier klicken|klicken sie hier|weiterlesen|newsletter|cliquez ici|lire la suite|haga clic aquí|leer más|clicca qui|leggi tutto|clique aqui|leia mais)",
    r"(?:нажмите здесь|читать далее|подпис(?:аться|ывайтесь)|点击这里|點擊這裡|阅读更多|登录后|こちらをクリック|続きを読む|ここをクリック|자세히 보기|로그인|اضغط هنا|اقرأ المزيد|यहाँ क्लिक|और पढ़ें|คลิกที่นี่|อ่านต่อ|เข้าสู่ระบบ)",
    r"to access this (?:command|function|page)",
    r"please enable javascript|javascript (?:is )?(?:disabled|required)",
    # About the page, not its subject.
    r"(?:this article|this section|this page|this list) (?:is a stub|needs|does not cite|is about|was (?:last )?(?:edited|translated|updated))",
    r"(?:retrieved|archived|accessed) (?:on |from )?\d",
    r"abgerufen am|archiviert vom original|zuletzt geändert durch|ausfertigungsdatum|consulté le|consultado el|consultato il|дата обращения|閲覧。|年\d+月\d+日閲覧",
    r"\[citation needed\]|\[(?:edit|bearbeiten|modifier|editar|modifica|править|編集|编辑|편집)\]",
    r"(?:see|refer to) (?:the )?(?:section|chapter|table|figure) \d[\d.]*[.,\"“”]*\s*\z",
)
BOILERPLATE: Final = f"(?i){'|'.join(_PHRASES)}"  # an expression of RE2, for Arrow


def is_apparatus(heading: str) -> bool:
    """Whether a section under this heading is about the document, not its subject."""
    return _DECORATION.sub("", heading).casefold() in _APPARATUS
