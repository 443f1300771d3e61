"""Near-duplicates in scripts without spaces: looked up by rows of characters, and harmless edits of Chinese and Japanese."""

# ruff: noqa: RUF001 - letters of other scripts are what is tested

import random

import pytest

from late_rerank import RankedDocument
from late_rerank.context.pieces import is_piece
from late_rerank.context.twins import Same, Twins
from late_rerank.context.wording import are_equal, wording

CHINESE = (
    "图书馆每天上午九点开门，晚上八点关门。读者凭借书证可以借阅十本图书，借期为三十天，可以续借一次。"
    "逾期每天收费一角。二楼的阅览室提供免费的无线网络！"
)
BEFORE = "图书馆位于市中心的公园旁边，乘坐地铁二号线可以到达。"
AFTER = "图书馆的停车场有两百个车位，读者可以免费停车两小时。"
THAI = "ห้องสมุดเปิดทุกวันตั้งแต่เก้าโมงเช้าถึงสองทุ่ม ผู้อ่านยืมหนังสือได้สิบเล่มเป็นเวลาสามสิบวัน ค่าปรับวันละหนึ่งบาท ชั้นสองมีอินเทอร์เน็ตฟรี"
JAPANESE = (
    "図書館は毎日午前九時に開館し、午後八時に閉館します。利用者は十冊まで三十日間借りられます。"
    "二階の閲覧室では無線ネットワークを無料で利用できます。"
)


def ranked(*texts):
    return [RankedDocument(text, None, 1.0, 1.0, i + 1, i, None, truncated=False, metadata={}) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (CHINESE, CHINESE.replace("，", ",").replace("！", "!")),
        (JAPANESE, JAPANESE.replace("。", "｡").replace("、", "､")),
        ("我们使用 Python 3 编写程序。", "我们使用Python 3编写程序。"),
        ("他说「明天见」。", "他说“明天见”。"),
        (CHINESE, CHINESE[:45] + "\n" + CHINESE[45:]),
        (THAI, THAI.replace(" ", "  ")),
        ("ﾊﾟｿｺﾝの電源", "ﾊﾟｿｺﾝの電源。"),
    ],
)
def test_harmless_edits_of_scripts_without_spaces_make_no_other_text(one, other):
    assert are_equal(wording(one), wording(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("可以服用。", "不可以服用。"),
        ("上午九点开门。", "下午九点开门。"),
        ("他说「明天见」。", "他说明天见。"),
        ("版本 1 2", "版本 12"),
        ("真的？", "真的。"),
        ("苹果\n香蕉", "苹果香蕉"),
        ("ผู้อ่านยืมได้", "ผู้อ่านยืมไม่ได้"),
    ],
)
def test_what_counts_makes_another_text(one, other):
    assert not are_equal(wording(one), wording(other))


@pytest.mark.parametrize("text", [CHINESE, JAPANESE, THAI])
def test_a_text_without_spaces_between_words_is_found_again_by_its_rows(text):
    documents = ranked(*(f"{i}{BEFORE if i % 2 else AFTER}{i}" for i in range(30)), text, f" {text}\n")
    assert Twins(documents).of(31, range(31), lambda _: True) == Same(30)


def test_a_piece_of_a_chinese_text_gives_its_room_to_the_text():
    documents = ranked(CHINESE, BEFORE + CHINESE + AFTER)
    assert is_piece(CHINESE, BEFORE + CHINESE + AFTER)
    assert Twins(documents).of(1, [0], lambda _: True) == Same(None, (0,))
    assert Twins(documents).of(0, [1], lambda _: True) == Same(1)


def test_a_piece_with_a_denial_beside_it_stays():
    assert not is_piece(CHINESE, "以上说法是错误的。" + CHINESE + AFTER)
    assert not is_piece(CHINESE, BEFORE + CHINESE + "这是假的。")


KOREAN = (
    "도서관은 매일 오전 아홉 시에 문을 열고 오후 여덟 시에 닫습니다. "
    "이용자는 대출증으로 책을 열 권까지 삼십 일 동안 빌릴 수 있습니다. "
    "연체료는 하루에 백 원입니다. 이 층 열람실에서는 무선 인터넷을 무료로 쓸 수 있습니다. "
    "주차장은 두 시간 동안 무료이고 그 뒤에는 요금을 냅니다."
)
RUSSIAN = (
    "Библиотека открывается ежедневно в девять утра и закрывается в восемь вечера. "
    "Читатели берут до десяти книг на тридцать дней. "
    "За каждый день просрочки платят один рубль. На втором этаже работает бесплатная сеть, а в подвале хранятся старые газеты."
)
HINDI = (
    "पुस्तकालय सोमवार से शनिवार तक सुबह नौ बजे खुलता है। सदस्य एक बार में चार किताबें घर ले जा सकते हैं। किताबें तीन सप्ताह के भीतर "
    "लौटानी होती हैं। बच्चों का कमरा पहली मंज़िल पर है, और वहाँ हर रविवार को कहानियाँ सुनाई जाती हैं।"
)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        *(
            (JAPANESE * 2, after)
            for after in (
                "というのは間違いです。",
                "などと書く人もいますが、事実ではありません。",
                "と多くの人が信じていますが、実際は違います。",
            )
        ),
        (KOREAN, " 위의 설명은 과학적으로 완전히 틀린 것으로 알려져 있습니다."),
        (RUSSIAN, " Однако учёные давно доказали, что всё сказанное выше ошибочно."),
        (RUSSIAN, " Специалисты давно опровергли эти утверждения городской газеты."),
        (HINDI, " वैज्ञानिकों ने बहुत पहले साबित कर दिया कि यह पूरी तरह असत्य है।"),
        (CHINESE * 2, "许多人相信这种说法，专家们早已反驳。"),
    ],
)
def test_a_denial_in_many_words_keeps_a_piece(text, after):
    assert not is_piece(text, text + after)


def test_a_piece_of_a_russian_text_gives_its_room_where_nothing_denies_it():
    assert is_piece(RUSSIAN, RUSSIAN + " Библиотека стоит в центре города рядом с парком и новой станцией метро.")


def test_beside_a_language_without_a_list_of_denials_nothing_is_proved():
    assert not is_piece(KOREAN, KOREAN + " 도서관은 시내 한가운데 공원 옆에 있고 지하철로 갈 수 있습니다.")


def test_chinese_texts_that_share_few_rows_are_not_compared():
    draw = random.Random(7)
    names = ["".join(chr(draw.randrange(0x4E00, 0x9000)) for _ in range(60)) for _ in range(80)]
    twins = Twins(ranked(*(f"{name}。{BEFORE}" for name in names)))
    assert all(twins.of(i, range(i), lambda _: True) == Same() for i in range(80))
    assert not twins._compared
