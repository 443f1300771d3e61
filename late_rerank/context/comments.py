"""Words that comment on a text. If one stands beside a piece of a longer text, the whole may say the opposite of the piece."""

from __future__ import annotations

import re

import regex

# No list of words is complete. A word here only keeps a further document in the context, after all other checks.
_ON_TEXTS = """
false falsely untrue wrong wrongly incorrect inaccurate mistake mistakes mistaken error errors myth myths fake hoax
rumour rumours rumor rumors satire parody fiction lie lies lied joke jokes nonsense fool opposite contrary retracted
retraction withdrawn withdrew correction corrected erratum outdated obsolete superseded deprecated archived expired
repealed revoked overturned rejected void invalid imagine suppose hypothetical claim claims claimed alleged allegedly
legend legends hearsay propaganda scam fairy quack quacks blunder blunders drunk dissenting swindler swindled victims struck
advise advised warned ignore reverse disputes disputed invented convicted laugh lethal raten abraten gegenteil
déconseillent déconseille desaconsejan desaconseja sconsigliano sconsiglia desaconselham desaconselha raden afraden
odradzają odradza советуют наоборот avråder tersini उलट ngược contraire contrario contrário tegendeel motsatsen
wrote quoted misleading disputed debunked disproved refuted denied following above nobody none such falsch falsche
unwahr veraltet irrtum irrtümlich widerrufen angeblich mythos lüge gelogen unsinn ungültig faux fausse obsolète
démenti mensonge mythe falso falsa falsi falsas mentira mito desmentido obsoleto inválido bugia onwaar onzin verouderd
falsk falskt föråldrad valhetta yanlış yalan ложь ложно неверно миф устарело fałsz nieprawda mit sai ψέμα λάθος गलत
झूठ मिथक خطأ كاذب خرافة שקר טעות دروغ غلط מיתוס
quatsch blödsinn widerlegt bewiesen behauptet behaupten behauptung gerücht irreführend fehlerhaft unwahrheit obige obigen
erroné erronée erronés erronées inexact inexacte prétendu prétend rumeur réfuté démontré trompeur mensonger contredit
erróneo errónea equivocado equivocada incorrecto incorrecta rumor refutado desmienten engaño errato sbagliato sbagliata
smentito bufala bugie errado errada incorreto boato enganoso refutado onjuist fout misleidend weerlegd gerucht bovenstaande
błędne błędny błąd nieprawdziwe powyższe plotka nhầm
"""  # noqa: RUF001 - Turkish
_DENYING = """
not no never nothing neither but if unless only except instead however although though would could until till once old
former formerly previous previously cancelled canceled draft said says quote according dangerous bad nicht kein keine
nie wenn nur aber früher pas jamais aucun mais si nunca jamás ningún pero solo non mai nessuno ma não mas niet nooit
geen maar inte aldrig ikke aldri ei eikä nem değil не нет никогда но если không δεν नहीं نہیں لا ليس غير לא نیست
"""
_POINTING = """
this that these those here it so dies diese dieser dieses das es ce ceci cela c'est ces esto eso este esta estas estos
questo questa isto isso dit deze det denne detta это эти так te ten này yang itu यह ये هذا هذه זה این bu
"""
# Beginnings of Russian, Ukrainian and Bulgarian words: their endings are many.
_CYRILLIC = """
ошиб опроверг опроверж заблужд неправ невер ложн ложь лжи лгал вран враньё вымыс вымыш выдум миф якобы мним сомнит спорн
устаре отмен отозва недостовер фальш поддел обман мошенн шутк сатир парод клевет сплетн слух утвержда заявля заявил сказан
написан говор пиш цитат цитир выше следующ однако наоборот напротив против вопреки доказа доказыв критик отрица нельзя запре
опасн вред бред чушь ерунд глуп пример хибн помилк брехн спростов проте однак насправді нібито грешн погреш обаче неверн лъж
"""
# The words of scripts without spaces, and those of Hindi, whose marks hide where words end, count within words too.
_UNSPACED = "不 没 未 非 假 谣 錯 错 誤 误 以上 这 這 嘘 ない なか これ この 안 아니 거짓 ไม่ เท็จ 相反 反対 ตรงกันข้าม မ"
_UNSPACED += " 实 實 据说 據說 声称 聲稱 认为 認為 相信 谎 謊 否认 否認 驳 駁 撤 废 廢 伪 偽 骗 騙 荒 谬"
_UNSPACED += " 謬 但 却 卻 然而 所谓 所謂 上述 前述"
_UNSPACED += " 上面 说法 說法 观点 觀點 传言 傳言 传闻 傳聞 反驳 歪 胡说 胡說"
_UNSPACED += " ग़लत गलत झूठ असत्य भ्रम भ्रामक दाव कथित अफवाह अफ़वाह खंडन विपरीत उपर्युक्त"
_UNSPACED += " ऊपर साबित सिद्ध लेकिन परंतु किंतु मगर वास्तव"
# No words are listed of these scripts, or too few: of Japanese, Korean, Arabic, Hebrew, Greek, Thai. One letter may be a sign.
_UNLISTED = regex.compile(r"(?V1)[\p{L}--[\p{Latin}\p{Cyrillic}\p{Han}\p{Devanagari}\p{Common}]]\p{M}*[\p{L}\p{M}\u30fc]")
# A sentence of fewer words denies its neighbour; a longer sentence denies its own statement.
_SHORT = 8


def _any_of(words: str) -> str:
    return "|".join(map(re.escape, words.split()))


_COMMENT = regex.compile(
    rf"\b(?:{_any_of(_ON_TEXTS)}|examples?(?!\.\w)|no longer|used to|(?:all|none|much|most|some) of (?:{_any_of(_POINTING)}))\b"
    rf"|^\W*(?:{_any_of(_POINTING)})\b|\b(?:{_any_of(_CYRILLIC)})|{_any_of(_UNSPACED)}",
    regex.IGNORECASE,
)
_DENIAL = regex.compile(rf"n't\b|\b(?:{_any_of(_DENYING)})\b", regex.IGNORECASE)
_BOILERPLATE = re.compile(
    r"\W*(?:\u00a9|all rights reserved|was this (?:page|article|answer) helpful|(?:share|print) this|back to top|read more"
    r"|skip to content|home > |contact us|related pages)",
    re.IGNORECASE,
)


def may_comment(sentence: str) -> bool:
    """Tell whether a sentence near a piece of a text may comment on it or quote it; any may whose words aren't listed."""
    return _COMMENT.search(sentence) is not None or _UNLISTED.search(sentence) is not None


def may_deny(sentence: str, *, of_any_length: bool = False) -> bool:
    """Tell whether a sentence, or the rest of one, right beside a piece of a text may deny or limit the piece."""
    return (of_any_length or len(sentence.split()) < _SHORT) and _DENIAL.search(sentence) is not None


def is_boilerplate(sentence: str) -> bool:
    """Tell whether a line stands on every page of a site."""
    return _BOILERPLATE.match(sentence) is not None
