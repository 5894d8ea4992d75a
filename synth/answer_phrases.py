"""Words by which an answer shows that it is no question: refusals, introductions, echoes of instructions.

A model may fall into English whatever it was asked in: each list holds for all languages. Expressions of RE2, for Arrow.
"""

from typing import Final

REFUSAL: Final = (
    r"(?i)^(?:i[’']?m |i am |we are |my )?(?:sorry|apolog)|^unfortunately,? (?:i|the|there)|as an? (?:ai|language model|large language)"
    r"|(?:^|\W)i (?:cannot|can[’']?t|can not|am unable|am not able|won[’']t|do not have|don[’']t have)|not enough (?:information|context)"
    r"|(?:the|provided|given) text (?:is|does not|doesn[’']t)|no question can be"
    r"|(?:es )?tut mir leid|ich kann (?:leider |dir |Ihnen )?(?:keine|nicht)|als (?:ki|sprachmodell)|leider kann"
    r"|je (?:suis )?désolé|je ne (?:peux|suis)|en tant qu[’'](?:ia|intelligence|modèle)"
    r"|lo siento|no puedo|como (?:modelo de lenguaje|una? ia|inteligencia)|mi dispiace|non posso|come (?:ia|modello linguistico)"
    r"|desculpe|sinto muito|não posso|como (?:uma? ia|modelo de linguagem)|извините|к сожалению, (?:я|в тексте)|я не могу|как (?:ии|языковая модель)"
    r"|^(?:抱歉|对不起|對不起|很抱歉)|我(?:无法|無法|不能)(?:回答|生成|提供|为|為)|作为(?:一个)?(?:AI|人工智能|语言模型)|作為(?:一個)?(?:AI|人工智慧|語言模型)"
    r"|申し訳|お答えできません|生成できません|죄송|답변(?:할|드릴) 수 없|생성할 수 없|عذر(?:ا|ًا)|آسف|لا أستطيع|لا يمكنني|क्षमा करें|माफ़ कीजिए|मैं .{0,20}नहीं कर सकता|ขออภัย|ขอโทษ|ไม่สามารถ(?:สร้าง|ตอบ|ให้)"
)

PREAMBLE: Final = (
    r"(?i)^\W*(?:sure|certainly|of course|absolutely|okay|ok|great|yes|here(?:[’']s| is| are)|below is|the (?:generated )?question (?:is|could|would|might)"
    r"|(?:an?|one|my) (?:possible|good|specific|valuable|potential|example)?,? ?(?:and valuable )?question|question (?:\d|number|for|about|based)|based on the|answer:|output:|user:|assistant:|title:|text:|generated question)(?:\W|$)"
    r"|^\W*(?:natürlich|gerne|selbstverständlich|hier ist|hier sind|eine mögliche frage|die frage (?:lautet|ist)|antwort:|frage \d)"
    r"|^\W*(?:bien sûr|certainement|voici|d[’']accord|une question possible|réponse ?:)"
    r"|^\W*(?:claro|por supuesto|aquí (?:está|tienes|hay)|una posible pregunta|respuesta:|certo|certamente|ecco|una possibile domanda|risposta:|com certeza|aqui está|uma possível pergunta|resposta:)"
    r"|^\W*(?:конечно|вот (?:вопрос|один)|возможный вопрос|ответ:)"
    r"|^(?:当然|當然|好的|以下是|这是|這是一|问题如下|問題如下|生成的问题|生成的問題|答案|もちろん|はい、|以下は|以下に|質問は|물론|네,|다음은|질문은|بالطبع|بالتأكيد|إليك|فيما يلي|السؤال هو|ज़रूर|बिल्कुल|यहाँ|यहां|แน่นอน|ได้เลย|นี่คือ|คำถามคือ)"
)

# What stands in our prompts, in those of chat templates, and in orders that a document slips in.
INSTRUCTION: Final = (
    r"(?i)(?:ignore|disregard|forget|override) (?:all |any |everything )?(?:of )?(?:the |these |your |my )?(?:above|previous|prior|preceding|earlier|instructions|rules|prompt)"
    r"|system prompt|(?:previous|above|prior) instructions|you are (?:a|an|now) (?:\w+ )?(?:ai|assistant|chatbot|curious)|curious ai|jailbreak"
    r"|avoid using pronouns|generated question should|one json object|without including additional|write_in_language|paragraph_json"
    r"|\"question\"\s*:|<\|[a-z_]+\|>|\[/?INST\]|<</?SYS>>|###\s*(?:instruction|response|system)|begin(?:ning)? of (?:the )?text|<think>|\{\{|\}\}"
    r"|ignorier\w* (?:die|alle) (?:obigen|vorherigen|bisherigen)|systemprompt|ignore[zr]? (?:les|toutes les) (?:instructions|consignes)|ignora (?:las|le|todas las|tutte le) (?:instrucciones|istruzioni)"
    r"|ignore (?:as|todas as) instruções|игнорируй(?:те)? (?:все |предыдущ|вышеуказанн|инструкц)|忽略(?:以上|上述|之前|前面|所有)|無視して|指示を無視|이전 (?:지시|명령)|지시(?:를|사항을) 무시|تجاهل (?:كل |جميع )?(?:التعليمات|ما سبق)|निर्देशों को (?:अनदेखा|नज़रअंदाज़)|เพิกเฉยต่อคำสั่ง|ละเว้นคำสั่ง"
)

ADDRESS: Final = r"(?i)https?://|www\.[a-z]|[a-z0-9._]+@[a-z0-9-]+\.[a-z]"

# Words that ask, where a question has no mark at its end.
ASKING: Final[dict[str, str]] = {
    "eng": r"(?i)^(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|do|does|did|can|could|should|in what|in which|at what|to what|for what|by what|under what|under which|on what|from what|during)(?:\W|$)",
    "deu": r"(?i)^(?:in |an |auf |seit |bis |von |mit |aus |für |zu |unter |nach )?(?:was|welche[rmns]?|wer|wem|wen|wessen|wann|wo|warum|wieso|weshalb|wie|wofür|wodurch|woher|wohin|worin|womit|worauf|wozu|wieviel)(?:\W|$)",
    "fra": r"(?i)^(?:en |à |de |dans |depuis |par |pour |sur )?(?:que|quel|quelle|quels|quelles|qui|quand|où|pourquoi|comment|combien|est-ce|quoi|lequel|laquelle)(?:\W|$)|^qu[’']est",
    "spa": r"(?i)^¿|^(?:en |a |de |por |para |con |desde )?(?:qué|cuál|cuáles|quién|quiénes|cuándo|dónde|cómo|cuánt[oa]s?)(?:\W|$)",
    "ita": r"(?i)^(?:in |a |di |da |per |con |su )?(?:che|quale|quali|qual|chi|quando|dove|perché|come|quant[oaie]|cosa)(?:\W|$)",
    "por": r"(?i)^(?:em |a |de |por |para |com )?(?:o que|que|qual|quais|quem|quando|onde|como|quant[oa]s?|por que)(?:\W|$)",
    "rus": r"(?i)^(?:в |на |с |к |о |от |из |для |за |по |при )?(?:что|чем|чего|как\pL*|кто|кого|кем|кому|когда|где|куда|откуда|почему|зачем|сколько|чей|котор\pL+)(?:[^\pL]|$)",
    "ara": r"^(?:و|ف|في |من |إلى |على |ب|ل|منذ )?(?:ما|ماذا|من|متى|أين|كيف|لماذا|كم|هل|أي|أية|بم|لم)(?:[^\pL]|$)",
    "hin": r"(?:^|\s)(?:क्या|कौन|कौनसा|कौनसी|किस|किसने|किसके|किन|कब|कहाँ|कहां|क्यों|कैसे|कितना|कितने|कितनी|कैसा|कैसी)(?:[\s?।]|$)",
    "jpn": r"か[。．]?$|(?:何|誰|どこ|いつ|なぜ|どの|どう|どれ|いくつ|いくら)[^。]*$",
    "kor": r"(?:까|나요|가요|인가|는가|은가|ㄴ가|니|냐|지요|죠)[.。]?$|(?:무엇|누구|언제|어디|왜|어떻게|어떤|몇|얼마)",
    "tha": "อะไร|ทำไม|อย่างไร|เมื่อไร|เมื่อไหร่|เมื่อใด|ที่ไหน|ที่ใด|ใคร|ไหม|มั้ย|หรือไม่|กี่|เท่าไร|เท่าไหร่|เท่าใด|ใด|ไหน|เพราะเหตุใด|ยังไง",
    "zho": "什么|什麼|甚麼|哪|谁|誰|为何|為何|为什|為什|如何|怎么|怎麼|怎样|怎樣|多少|几|幾|吗|嗎|呢|是否|何时|何時|何地|何种|何種|多大|多长|多長|多久|是不是|能否|可否",
}
