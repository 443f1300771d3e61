"""The function words of languages: words of any text, which tell its language. By script, and by Snowball's names."""

# ruff: noqa: RUF001 - letters of other scripts are what is listed

_LATIN = {
    "english": "the of and to in is that it was for on are as with his they at be this have from or had by but not what all "
    "were we when your can there an each which she do how their if will would could about been who its more than these has "
    "our into only some them any may such",
    "german": "der die das und ist nicht ein eine zu den mit von sich auf für dem des im es auch als wie bei nach einer aus "
    "werden wird sie ich oder sind kann einen hat wenn durch nur noch um war zum zur über wurde haben dass diese dieser "
    "einem eines vor aber man mehr wir",
    "dutch": "de het een van en is dat niet op te zijn voor met die aan er om ook als dan maar bij nog uit naar heeft worden "
    "wordt door over deze dit wat kan hij zij wij geen meer tot hebben",
    "afrikaans": "die en van het in is nie dat vir met wat om op sy hy te was sal ook maar aan as kan ek ons hulle word deur",
    "french": "le la les de des un une et est en que qui dans pour pas sur au aux du ce cette il elle ne se avec par plus "
    "sont ou nous vous être ont mais si leur comme tout peut fait était même sans ces cet lors entre après où",
    "spanish": "el la los las de del que y en un una es por con para no se su al lo como más pero sus le ha este porque esta "
    "entre cuando muy sin sobre también hasta hay donde desde todo nos fue son ser puede",
    "catalan": "el la els les de del dels que i en un una per amb no és es al als com més però seu seva aquest aquesta són "
    "ha si pel perquè també entre fins quan molt aquests",
    "galician": "o a os as de do da que e en un unha para con non por máis se na no ao como pero foi súa seu tamén dos das",
    "portuguese": "o a os as de do da dos das que e em um uma para com não por mais se na no nos nas ao como mas foi ele tem "
    "seu sua ou ser quando muito já também só pelo pela até isso ela são está você pode",
    "italian": "il la lo gli le di che e un una in del della dei delle per non con si da è sono al alla come anche più nel "
    "nella dal questo questa ma se ha essere ci suo sua tra stato quando può",
    "romanian": "și în de la cu nu pe care din un o să se mai este sunt pentru au ca fi lui dar sau după prin fost când "
    "această acest între ce într toate poate",
    "swedish": "och att det en är som på de med för av till den inte har om ett var men så från kan eller när han hon vi ska "
    "du sig efter vid hade där nu under också mycket detta",
    "danish": "og at det en er som på de med for af til den ikke har om et var men så fra kan eller når han hun vi skal du "
    "sig efter ved havde hvor nu også blev være bliver hvis dette",
    "norwegian": "og at det en er som på de med for av til den ikke har om et var men så fra kan eller når han hun vi skal "
    "du seg etter ved hadde hvor nå også ble være hva hvis blir bare mellom dette",
    "icelandic": "og að í á er sem það var ekki um við til en með fyrir af hann eru frá hafa þessi eftir",
    "finnish": "ja on ei että se oli mutta ovat kun tai niin myös kuin hän sen jos mitä ole sitä nyt tämä joka vain voi "
    "ollut mukaan jotka sekä minä hänen olla tämän kuten siitä",
    "estonian": "ja on ei et see oli kui aga ka mis ning oma ta või kes nii siis nende olid ole selle seda veel mida välja "
    "võib",
    "hungarian": "az és hogy nem is egy van volt de ez meg csak vagy mint már ha azt el még lehet amely több fel kell után "
    "minden most lesz között ezt ami",
    "polish": "i w na z do że się nie jest to o jak po co ale za od są tak przez był dla może już tylko który która które "
    "jego lub oraz być ich czy ma przy",
    "czech": "a v na se je to že s z do i o k jako po jsou byl pro ale za by od které který která nebo může při jeho také už "
    "jen podle až není být",
    "slovak": "a v na sa je to že s z do o k ako po sú bol pre ale za by od ktoré ktorý ktorá alebo môže pri jeho tiež už "
    "len podľa až nie byť",
    "slovene": "in je na se da za so ki ne pa v z kot ali pri tudi bi po še iz ni od bil bila ko lahko kaj",
    "serbian": "i u je na da se za su od sa ne koji koja kao ali ili iz bi što bio samo biti koje nije kako po može te već",
    "lithuanian": "ir yra kad į su iš tai kaip bet ar už buvo ne jo po apie tik nuo dar iki pagal kuris jų jos kurie prie",
    "latvian": "un ir ka no ar uz par kas tas bija kā nav arī vai bet lai pēc tikai tiek viņš pie",
    "turkish": "ve bir bu da de için ile olarak daha çok ne olan gibi kadar en var sonra ama ya değil her olduğu göre ki "
    "veya tarafından ise",
    "azerbaijani": "və bir bu ilə üçün də olan olaraq daha ki isə sonra hər qədər ən edir kimi var amma",
    "indonesian": "yang dan di untuk dengan dari ini dalam tidak pada itu adalah akan ke atau oleh sebagai juga dapat telah "
    "ada mereka lebih sebuah saya bisa kita kami karena seperti bahwa",
    "vietnamese": "của và là các có trong được cho một không với những này người đã khi từ đến để về như trên tôi cũng sẽ đó",
    "basque": "eta da ez bat du izan dira egin ere zen baina hau dute beste bere edo den egiten baino hori zuen gabe",
    "irish": "agus na an ar is go le sa tá ag bhí don ach nó sé sí mar atá seo sin leis chun gur",
    "welsh": "y yr yn i o a ei ar am mae gan wedi oedd ac bod hefyd ond",
    "esperanto": "la kaj de en estas al por kun ke ne mi vi li ŝi ĝi ili kiu kio sed aŭ estis pri oni ĉi tiu povas pli el",
    "albanian": "dhe në të e për me një që nuk nga është i së si por më kjo ai janë ka ose",
    "sesotho": "le ea ho ke ka e hore ba sa o tsa ha bo leng empa kapa bona eo hae tse",
    "swahili": "ya na wa kwa ni katika za la cha kama hii hiyo ili lakini yake pia kuwa huo watu baada",
    "tagalog": "ang ng sa mga na ay at si ko ito para hindi niya kung siya may ni nang",
}
_CYRILLIC = {
    "russian": "и в не на что с он как это по но из у за от так все для его же бы о к или был быть если её при она они "
    "только уже может также этого",
    "ukrainian": "і в на не що з до як та у за це від по але його для про є так вона він або якщо був може бути також ще її "
    "щоб який",
    "belarusian": "і ў у на не што з як да гэта па для ад але яго за ён або быў таксама каб гэты якія",
    "bulgarian": "и на в да се за с от не по е са че като ще или това до при но го който която също бе може към те между",
    "serbian": "и у је на да се за су од са не који која као али или из би што био само бити које није како може",
    "macedonian": "и на во да се за од со не е ги што како но или тоа до при го беше кој која исто така може",
    "kazakh": "және мен бұл бір үшін деп болып еді бойынша сол да де",
    "mongolian": "нь байна энэ юм гэж бол дээр болон ба",
}
_ARABIC = {
    "arabic": "في من على أن إلى هذا التي الذي ما لا كان عن مع هذه هو هي أو كل بعد بين ذلك لم قد عند كما إذا حيث",
    "persian": "و در به از که این را با است برای آن یک خود تا بر هم نیز می های شد بود کرد اما یا شده آنها هر باشد",
    "urdu": "کے میں کی ہے اور سے کا کو اس نے کہ پر ہیں یہ ایک بھی نہیں تھا جو کر گیا وہ ان تو ہو تک",
    "pashto": "په د او چې کې ته دی له دا يې سره کړي نه شوي هغه",
}
_DEVANAGARI = {
    "hindi": "के में की है और से का को पर इस नहीं ने कि हैं एक यह भी था जो कर गया वह लिए हो तो अपने या साथ",
    "marathi": "आहे आणि या च्या ने मध्ये ते हे तो होते नाही असे व साठी आहेत ही होता की पण केले",
    "nepali": "छ र को मा लाई यो हो छन् पनि गर्न भने एक थियो तर का ले बाट गरेको भएको गर्ने",
}
_HEBREW = {
    "hebrew": "של את על לא הוא זה עם כי היא גם אני אם או כל יש היה",
    "yiddish": "און די איז אין דער פון צו דאָס נישט האָט מיט אַז ער זיך וואָס זענען",
}
FUNCTION_WORDS = {"latin": _LATIN, "cyrillic": _CYRILLIC, "arabic": _ARABIC, "devanagari": _DEVANAGARI, "hebrew": _HEBREW}
