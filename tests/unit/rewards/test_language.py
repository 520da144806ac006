"""The detector on short texts that we wrote, one or more a language, and on what it must not claim."""

from __future__ import annotations

import pytest

from theodolite.rewards.language import detect, names, scores, script_of

TEXTS = {
    "en": "My sister bought two apples and a loaf of bread this morning.",
    "es": "Mi hermana compró dos manzanas y un pan esta mañana en el mercado.",
    "pt": "A minha irmã comprou duas maçãs e um pão hoje de manhã no mercado.",
    "fr": "Ma sœur a acheté deux pommes et du pain ce matin au marché.",
    "de": "Meine Schwester hat heute Morgen zwei Äpfel und ein Brot gekauft.",
    "it": "Mia sorella ha comprato due mele e del pane questa mattina al mercato.",
    "pl": "Moja siostra kupiła dziś rano dwa jabłka i chleb na targu.",
    "vi": "Chị tôi đã mua hai quả táo và một ổ bánh mì sáng nay.",
    "sw": "Dada yangu alinunua matufaa mawili na mkate leo asubuhi kwa ajili ya watoto.",
    "fi": "Siskoni osti tänä aamuna kaksi omenaa ja leivän, koska hän oli nälkäinen.",
    "nl": "Mijn zus heeft vanmorgen twee appels en een brood gekocht op de markt.",
    "sv": "Min syster köpte två äpplen och ett bröd på marknaden i morse.",
    "tr": "Kız kardeşim bu sabah pazardan iki elma ve bir ekmek aldı.",
    "id": "Kakak saya membeli dua apel dan roti di pasar tadi pagi untuk keluarga.",
    "ru": "Моя сестра купила сегодня утром два яблока и хлеб на рынке.",
    "uk": "Моя сестра купила сьогодні вранці два яблука і хліб на ринку.",
    "bg": "Сестра ми купи тази сутрин две ябълки и хляб от пазара, за да закусим.",
    "ar": "اشترت أختي تفاحتين وخبزا هذا الصباح من السوق القريب من البيت.",
    "fa": "خواهرم امروز صبح دو سیب و یک نان از بازار خرید و به خانه آمد.",
    "ur": "میری بہن نے آج صبح بازار سے دو سیب اور ایک روٹی خریدی۔",
    "hi": "मेरी बहन ने आज सुबह बाज़ार से दो सेब और एक रोटी खरीदी है।",
    "mr": "माझी बहीण आज सकाळी बाजारात गेली आणि तिने दोन सफरचंद घेतले आहेत.",
    "ne": "मेरी बहिनीले आज बिहान बजारबाट दुई स्याउ र एक रोटी किनेकी छ।",
    "th": "น้องสาวของฉันซื้อแอปเปิลสองผลเมื่อเช้านี้",
    "ja": "妹は今朝、市場でりんごを二つ買いました。",
    "zh": "我妹妹今天早上在市场买了两个苹果。",
    "ko": "내 동생은 오늘 아침 시장에서 사과 두 개를 샀어요.",
    "he": "אחותי קנתה הבוקר שני תפוחים ולחם בשוק.",
    "bn": "আমার বোন আজ সকালে দুটি আপেল কিনেছে।",
    "ta": "என் தங்கை இன்று காலை இரண்டு ஆப்பிள்கள் வாங்கினாள்.",
    "te": "నా చెల్లి ఈ ఉదయం రెండు ఆపిల్స్ కొన్నది.",
    "kn": "ನನ್ನ ತಂಗಿ ಇಂದು ಬೆಳಿಗ್ಗೆ ಎರಡು ಸೇಬು ಕೊಂಡಳು.",
    "gu": "મારી બહેને આજે સવારે બે સફરજન ખરીદ્યા.",
    "pa": "ਮੇਰੀ ਭੈਣ ਨੇ ਅੱਜ ਸਵੇਰੇ ਦੋ ਸੇਬ ਖਰੀਦੇ।",
    "ml": "എന്റെ അനിയത്തി ഇന്ന് രാവിലെ രണ്ട് ആപ്പിൾ വാങ്ങി.",
    "el": "Η αδελφή μου αγόρασε σήμερα δύο μήλα.",
    "da": "Min søster købte to æbler og et brød på torvet, da hun var sulten.",
    "ro": "Sora mea a cumpărat azi două mere și o pâine de la piață.",
    "cs": "Moje sestra dnes ráno koupila na trhu dvě jablka a chléb, protože měla hlad.",
}
SHORT = {
    "en": ["What do you want?", "I would like some tea.", "mix the flour and the milk"],
    "es": ["¿Dónde está la biblioteca?", "No sé qué decir.", "Me gusta mucho el café con leche."],
    "fr": ["Je ne sais pas.", "Où est la gare ?", "Il fait très beau dans le jardin."],
    "de": ["Ich weiß es nicht.", "Wo ist der Bahnhof?", "Das Wetter ist heute sehr schön."],
    "it": ["Non lo so.", "Dove è la stazione?", "Il tempo oggi è molto bello."],
    "pt": ["Eu não sei.", "Onde está a minha avó?", "O tempo hoje está muito bom."],
    "ru": ["Я этого не знаю.", "Где мой дом?"],
    "uk": ["Я не знаю, що це.", "Де мій дім?"],
    "sw": ["Habari ya asubuhi, rafiki yangu.", "Watoto wanacheza mpira na wazazi wao."],
}
IFEVAL = "en es pt ar hi fr ru de ja it bn uk th ur ta te bg ko pl he fa vi ne sw kn mr gu pa ml fi".split()  # noqa: SIM905


@pytest.mark.parametrize("code", TEXTS)
def test_a_sentence_is_recognised(code):
    assert detect(TEXTS[code]) == code
    assert detect(TEXTS[code].upper()) == code


@pytest.mark.parametrize("code", SHORT)
def test_short_texts_are_recognised(code):
    assert [t for t in SHORT[code] if detect(t) != code] == []


def test_all_languages_of_ifeval_are_known_and_every_known_one_is_tested():
    assert set(IFEVAL) <= set(names())
    assert set(names()) == set(TEXTS)


@pytest.mark.parametrize("text", ["", "12345", "... !", "😀😀", "xqzt wvrk plmf", "https://example.com/the/and/of"])
def test_it_says_nothing_where_nothing_shows(text):
    assert detect(text) is None


def test_a_text_of_two_languages_alike_is_left_open():
    assert detect("Я не знаю.") is None  # as good Ukrainian as Russian


def test_the_larger_part_of_a_mixed_text_decides():
    assert detect(TEXTS["ru"] * 3 + TEXTS["en"]) == "ru"
    assert detect(TEXTS["ru"] + TEXTS["en"] * 3) == "en"
    assert detect("Das Wort 苹果 kommt in diesem Satz nur ein Mal vor, und das ist gut.") == "de"


def test_the_score_is_the_formula():
    # 'я' is in all three Cyrillic profiles (1/3 each); 'мы' is Russian alone and has its letter 'ы' (1 + 0.5).
    found = scores("я мы the", "cyrillic")
    assert found["ru"] == pytest.approx((1 / 3 + 1 + 0.5) / 2)
    assert found["uk"] == pytest.approx(1 / 3 / 2)
    assert scores("", "latin")["en"] == 0


def test_decomposed_letters_are_the_same_letters():
    import unicodedata

    assert detect(unicodedata.normalize("NFD", TEXTS["vi"])) == "vi"
    assert script_of("αβγ a") == "greek"
    assert script_of("123") is None
