"""What web pages say that is not about their subject, and titles that say nothing, by language. Written for pairmill.

Compared folded (filters.phrases): without case, accents and punctuation. BOILERPLATE holds phrases that hardly ever
occur in text about something; words that prose uses as well ("log in", "privacy policy") stand in PLACEHOLDERS, which
count only where they are the whole text.
"""

from typing import Final

BOILERPLATE: Final = {
    "eng": """
        we use cookies
        we use our own and third party cookies
        we and our partners use cookies
        we and our partners store
        this site uses cookies
        this website uses cookies
        our site uses cookies
        our website uses cookies
        uses cookies to
        use cookies to
        cookies to improve your experience
        cookies to ensure that you get the best experience
        cookies to ensure you get the best experience
        cookies to give you the best experience
        cookies to personalise content
        cookies to personalize content
        cookies to analyse our traffic
        cookies to analyze our traffic
        to improve your browsing experience
        to enhance your browsing experience
        to provide you with the best experience
        the best experience on our website
        the best experience on our site
        to personalise content and ads
        to personalize content and ads
        to provide social media features
        to analyse our traffic
        to analyze our traffic
        by continuing to use this site
        by continuing to use our site
        by continuing to use this website
        by continuing to use our website
        by continuing to browse
        by using this site you agree
        by using this website you agree
        by using our site you agree
        by using our website you agree
        by clicking accept
        by clicking accept all
        you agree to the use of cookies
        you agree to our use of cookies
        you consent to the use of cookies
        you consent to our use of cookies
        you accept the use of cookies
        you accept our use of cookies
        you agree to our cookie policy
        you accept our cookie policy
        agree to the storing of cookies
        accept all cookies
        accept cookies
        reject all cookies
        reject cookies
        decline cookies
        manage cookies
        manage cookie preferences
        cookie preferences
        cookie settings
        cookie consent
        strictly necessary cookies
        see our cookie policy
        read our cookie policy
        read our privacy policy
        see our privacy policy
        view our privacy policy
        you agree to our privacy policy
        agree to our terms of service
        agree to our terms of use
        agree to our terms and conditions
        you agree to the terms
        privacy policy and terms
        terms of service and privacy policy
        terms of use and privacy policy
        privacy policy terms of service
        privacy policy terms of use
        terms of use privacy policy
        terms of service privacy policy
        terms and conditions privacy policy
        do not sell my personal information
        please enable javascript
        enable javascript in your browser
        enable javascript to
        javascript is disabled
        javascript is disabled in your browser
        javascript is not enabled
        javascript is required
        javascript must be enabled
        requires javascript to be enabled
        you need to enable javascript
        you need to have javascript enabled
        your browser does not support javascript
        your browser does not support
        your browser is out of date
        you are using an outdated browser
        please update your browser
        please upgrade your browser
        please disable your ad blocker
        please turn off your ad blocker
        subscribe to our newsletter
        subscribe to our mailing list
        subscribe to our channel
        sign up for our newsletter
        sign up to our newsletter
        sign up for our mailing list
        sign up for free
        join our newsletter
        join our mailing list
        get our newsletter
        delivered straight to your inbox
        delivered to your inbox
        enter your email address
        enter your e mail address
        you can unsubscribe at any time
        unsubscribe at any time
        thank you for subscribing
        please check your email
        share this article
        share this page
        share this post
        share this story
        share on facebook
        share on twitter
        share on linkedin
        share on whatsapp
        share on pinterest
        share via email
        share with your friends
        tweet this
        pin it
        like us on facebook
        find us on facebook
        follow us on facebook
        follow us on twitter
        follow us on instagram
        follow us on social media
        follow us on
        click to share on
        click to email a link to a friend
        opens in new window
        opens in a new tab
        print this page
        email this page
        all rights reserved
        no part of this site may be reproduced
        click here to read more
        click here to continue
        click here to download
        click here to view
        click here for more information
        click here for details
        click here to subscribe
        click here to sign up
        click here to log in
        read the full article
        read the full story
        continue reading
        skip to main content
        skip to content
        skip to navigation
        jump to navigation
        back to top
        scroll to top
        return to the home page
        go to the home page
        back to home page
        toggle navigation
        log in or sign up
        log in or register
        login or register
        log in to comment
        log in to post comments
        log in to post a comment
        log in to your account
        log in to leave a comment
        sign in to your account
        sign in to continue
        sign in or create an account
        sign in with google
        you must be logged in to post
        you must be logged in to reply
        you must be logged in to comment
        you need to be logged in to comment
        create a free account
        forgot your password
        forgotten your password
        lost your password
        already have an account
        don t have an account sign up
        don t have an account register
        leave a comment
        leave a reply
        post a comment
        comments are closed
        your email address will not be published
        required fields are marked
        save my name email and website in this browser
        notify me of follow up comments
        no comments yet
        be the first to comment
        the page you are looking for
        the page you requested
        the requested page could not be found
        page cannot be displayed
        this page does not exist
        this page is no longer available
        you don t have permission to access
        service temporarily unavailable
        please try again later
        verify you are human
        verifying you are human
        checking your browser before accessing
        please complete the captcha
        add to cart
        add to basket
        add to wishlist
        your cart is empty
        your shopping cart is empty
        proceed to checkout
        free shipping on orders
        related posts
        related articles
        you might also like
        you may also like
        recommended for you
        popular posts
        recent posts
        recent comments
        previous post
        next post
        advertisement continue reading below
        this article contains affiliate links
        this post may contain affiliate links
        powered by wordpress
        proudly powered by
        lorem ipsum dolor sit amet
        consectetur adipiscing elit
        consectetur adipisicing elit
        sed do eiusmod tempor incididunt
        ut labore et dolore magna aliqua
        ut enim ad minim veniam
        duis aute irure dolor
        excepteur sint occaecat
    """,
    "deu": """
        diese website verwendet cookies
        diese webseite verwendet cookies
        diese seite verwendet cookies
        diese website benutzt cookies
        diese webseite benutzt cookies
        diese seite benutzt cookies
        diese website nutzt cookies
        diese webseite nutzt cookies
        diese seite nutzt cookies
        unsere website verwendet cookies
        unsere webseite verwendet cookies
        unsere website nutzt cookies
        wir verwenden cookies
        wir nutzen cookies
        wir setzen cookies ein
        wir benutzen cookies
        verwenden wir cookies
        nutzen wir cookies
        setzen wir cookies ein
        um inhalte und anzeigen zu personalisieren
        um ihnen das bestmögliche erlebnis
        um ihnen die bestmögliche
        um die benutzerfreundlichkeit zu verbessern
        um ihr erlebnis zu verbessern
        um unsere website für sie optimal zu gestalten
        die zugriffe auf unsere website zu analysieren
        durch die weitere nutzung der website
        durch die weitere nutzung der webseite
        durch die weitere nutzung der seite
        durch die nutzung dieser website
        mit der nutzung unserer website
        mit der nutzung unserer dienste
        wenn sie diese website weiterhin nutzen
        wenn sie auf dieser seite bleiben
        stimmen sie der verwendung von cookies zu
        stimmen sie der nutzung von cookies zu
        erklären sie sich mit der verwendung von cookies einverstanden
        erklären sie sich damit einverstanden dass wir cookies
        der verwendung von cookies zu
        mit der verwendung von cookies einverstanden
        alle cookies akzeptieren
        cookies akzeptieren
        cookies ablehnen
        cookie einstellungen
        cookie richtlinie
        in unserer datenschutzerklärung
        lesen sie unsere datenschutzerklärung
        weitere informationen finden sie in unserer datenschutzerklärung
        impressum datenschutz
        datenschutz impressum
        agb datenschutz
        bitte aktivieren sie javascript
        javascript in ihrem browser
        javascript ist deaktiviert
        javascript ist in ihrem browser deaktiviert
        ihr browser unterstützt kein javascript
        sie verwenden einen veralteten browser
        ihr browser ist veraltet
        abonnieren sie unseren newsletter
        newsletter abonnieren
        zum newsletter anmelden
        melden sie sich für unseren newsletter an
        für unseren newsletter an
        jetzt anmelden und
        ihre e mail adresse wird nicht veröffentlicht
        deine e mail adresse wird nicht veröffentlicht
        erforderliche felder sind mit
        diesen artikel teilen
        diese seite teilen
        seite teilen
        auf facebook teilen
        auf twitter teilen
        folgen sie uns auf
        folge uns auf
        alle rechte vorbehalten
        klicken sie hier
        klicke hier
        hier klicken
        zum inhalt springen
        zur navigation springen
        zurück zur startseite
        zur startseite
        passwort vergessen
        kennwort vergessen
        noch kein konto
        jetzt registrieren
        anmelden oder registrieren
        sie müssen angemeldet sein
        schreibe einen kommentar
        kommentar schreiben
        seite nicht gefunden
        die angeforderte seite
        die von ihnen gesuchte seite
        diese seite existiert nicht
        bitte versuchen sie es später erneut
        in den warenkorb
        ihr warenkorb ist leer
        das könnte sie auch interessieren
        das könnte dich auch interessieren
        ähnliche beiträge
        lesen sie auch
        jetzt weiterlesen
    """,
    "fra": """
        ce site utilise des cookies
        ce site web utilise des cookies
        notre site utilise des cookies
        nous utilisons des cookies
        nous et nos partenaires utilisons
        utilise des cookies pour
        utilisons des cookies pour
        pour améliorer votre expérience
        pour vous offrir la meilleure expérience
        pour vous garantir la meilleure expérience
        la meilleure expérience sur notre site
        afin d améliorer votre expérience
        pour vous proposer des contenus
        en poursuivant votre navigation
        en continuant à naviguer
        en continuant à utiliser ce site
        en utilisant ce site
        si vous continuez à utiliser ce site
        vous acceptez l utilisation de cookies
        vous acceptez l utilisation des cookies
        vous acceptez notre utilisation de cookies
        l utilisation de cookies
        accepter les cookies
        accepter tous les cookies
        tout accepter
        tout refuser
        refuser les cookies
        gérer les cookies
        paramètres des cookies
        politique de cookies
        politique relative aux cookies
        consultez notre politique de confidentialité
        notre politique de confidentialité
        veuillez activer javascript
        activer javascript
        javascript est désactivé
        javascript doit être activé
        votre navigateur ne supporte pas
        votre navigateur ne prend pas en charge
        votre navigateur est obsolète
        abonnez vous à notre newsletter
        abonnez vous à notre lettre d information
        inscrivez vous à notre newsletter
        inscrivez vous à la newsletter
        recevez notre newsletter
        votre adresse e mail
        votre adresse e mail ne sera pas publiée
        les champs obligatoires sont indiqués
        partager cet article
        partager cette page
        partager sur facebook
        partager sur twitter
        suivez nous sur
        tous droits réservés
        cliquez ici
        lire la suite
        aller au contenu
        aller au contenu principal
        retour en haut
        retour à l accueil
        mot de passe oublié
        se connecter ou s inscrire
        vous devez être connecté
        connectez vous pour
        laisser un commentaire
        laissez un commentaire
        page non trouvée
        page introuvable
        la page que vous recherchez
        la page demandée
        veuillez réessayer plus tard
        ajouter au panier
        votre panier est vide
        vous aimerez aussi
        articles similaires
        à lire aussi
    """,
    "spa": """
        este sitio web utiliza cookies
        este sitio utiliza cookies
        este sitio usa cookies
        este sitio web usa cookies
        esta web utiliza cookies
        esta página utiliza cookies
        esta página web utiliza cookies
        nuestro sitio web utiliza cookies
        utilizamos cookies
        usamos cookies
        utilizamos cookies propias y de terceros
        cookies propias y de terceros
        para mejorar su experiencia
        para mejorar tu experiencia
        para mejorar nuestros servicios
        para ofrecerle la mejor experiencia
        para ofrecerte la mejor experiencia
        la mejor experiencia en nuestro sitio web
        la mejor experiencia de usuario
        si continúa navegando
        si continúas navegando
        si continúa utilizando este sitio
        al continuar navegando
        al utilizar este sitio
        consideramos que acepta su uso
        acepta el uso de cookies
        aceptas el uso de cookies
        acepta nuestra política de cookies
        aceptas nuestra política de cookies
        aceptar cookies
        aceptar todas las cookies
        aceptar todo
        rechazar cookies
        configurar cookies
        configuración de cookies
        política de cookies
        nuestra política de privacidad
        política de privacidad y
        términos y condiciones de uso
        por favor active javascript
        por favor habilite javascript
        habilitar javascript
        active javascript en su navegador
        javascript está deshabilitado
        javascript está desactivado
        su navegador no soporta
        tu navegador no soporta
        su navegador no es compatible
        suscríbete a nuestro boletín
        suscríbase a nuestro boletín
        suscríbete a nuestra newsletter
        suscríbete a nuestro canal
        introduce tu correo electrónico
        tu dirección de correo electrónico no será publicada
        su dirección de correo electrónico no será publicada
        los campos obligatorios están marcados
        compartir este artículo
        comparte este artículo
        compartir en facebook
        compartir en twitter
        comparte en facebook
        síguenos en
        síganos en
        todos los derechos reservados
        haga clic aquí
        haz clic aquí
        clic aquí para
        seguir leyendo
        saltar al contenido
        ir al contenido
        volver arriba
        volver al inicio
        volver a la página principal
        iniciar sesión o registrarse
        olvidaste tu contraseña
        olvidó su contraseña
        ha olvidado su contraseña
        debes iniciar sesión
        debe iniciar sesión
        deja un comentario
        deja una respuesta
        dejar un comentario
        página no encontrada
        la página que busca
        la página que buscas
        la página solicitada
        inténtelo de nuevo más tarde
        añadir al carrito
        agregar al carrito
        su carrito está vacío
        tu carrito está vacío
        también te puede interesar
        artículos relacionados
        entradas relacionadas
    """,
    "por": """
        este site utiliza cookies
        este site usa cookies
        este website utiliza cookies
        este sítio utiliza cookies
        nosso site utiliza cookies
        nosso site usa cookies
        utilizamos cookies
        usamos cookies
        nós usamos cookies
        para melhorar a sua experiência
        para melhorar sua experiência
        para oferecer a melhor experiência
        para lhe proporcionar a melhor experiência
        para personalizar conteúdo e anúncios
        ao continuar navegando
        ao continuar a navegar
        ao navegar neste site
        ao utilizar este site
        se continuar a navegar
        você concorda com o uso de cookies
        você concorda com a utilização de cookies
        concorda com a nossa política de cookies
        está a aceitar a sua utilização
        aceita o uso de cookies
        aceita a utilização de cookies
        aceitar cookies
        aceitar todos os cookies
        aceitar tudo
        rejeitar cookies
        definições de cookies
        configurações de cookies
        política de cookies
        nossa política de privacidade
        política de privacidade e
        termos e condições de uso
        por favor ative o javascript
        por favor habilite o javascript
        habilite o javascript
        ative o javascript
        javascript está desativado
        seu navegador não suporta
        o seu navegador não suporta
        assine nossa newsletter
        assine a nossa newsletter
        subscreva a nossa newsletter
        inscreva se em nosso canal
        inscreva se na nossa newsletter
        o seu endereço de email não será publicado
        o seu endereço de e mail não será publicado
        campos obrigatórios são marcados
        compartilhe este artigo
        compartilhar no facebook
        compartilhe no facebook
        partilhar no facebook
        partilhe este artigo
        siga nos no
        siga nos nas redes sociais
        nos siga no
        todos os direitos reservados
        clique aqui
        continue lendo
        continuar a ler
        ir para o conteúdo
        pular para o conteúdo
        saltar para o conteúdo
        voltar ao topo
        voltar à página inicial
        esqueceu a senha
        esqueceu sua senha
        esqueceu se da palavra passe
        faça login para
        deixe um comentário
        deixe uma resposta
        página não encontrada
        a página que você procura
        a página solicitada
        tente novamente mais tarde
        adicionar ao carrinho
        seu carrinho está vazio
        você também pode gostar
        artigos relacionados
        leia também
    """,
    "ita": """
        questo sito utilizza cookie
        questo sito utilizza i cookie
        questo sito usa cookie
        questo sito usa i cookie
        questo sito web utilizza i cookie
        questo sito web utilizza cookie
        il nostro sito utilizza cookie
        utilizziamo i cookie
        usiamo i cookie
        utilizziamo cookie
        cookie di terze parti
        cookie di profilazione
        per migliorare la tua esperienza
        per migliorare la vostra esperienza
        per offrirti una migliore esperienza
        per garantire la migliore esperienza
        per fornirti la migliore esperienza
        la migliore esperienza di navigazione
        continuando a navigare
        proseguendo la navigazione
        se continui ad utilizzare questo sito
        se continui a navigare
        acconsenti all uso dei cookie
        acconsenti all utilizzo dei cookie
        accetti l uso dei cookie
        accetti l utilizzo dei cookie
        l utilizzo dei cookie
        accetta i cookie
        accetta tutti i cookie
        accetta tutti
        rifiuta tutti
        impostazioni dei cookie
        impostazioni cookie
        informativa sui cookie
        cookie policy
        leggi la nostra informativa
        informativa sulla privacy
        abilita javascript
        abilitare javascript
        attiva javascript
        javascript è disabilitato
        il tuo browser non supporta
        iscriviti alla nostra newsletter
        iscriviti alla newsletter
        iscriviti al nostro canale
        il tuo indirizzo email non sarà pubblicato
        i campi obbligatori sono contrassegnati
        condividi questo articolo
        condividi su facebook
        condividi su twitter
        seguici su
        tutti i diritti riservati
        clicca qui
        fai clic qui
        continua a leggere
        leggi tutto
        vai al contenuto
        salta al contenuto
        torna su
        torna alla home
        torna all inizio
        password dimenticata
        hai dimenticato la password
        accedi o registrati
        devi effettuare l accesso
        lascia un commento
        pagina non trovata
        la pagina che stai cercando
        la pagina richiesta
        riprova più tardi
        aggiungi al carrello
        il tuo carrello è vuoto
        potrebbe interessarti anche
        articoli correlati
        leggi anche
    """,
    "nld": """
        deze website maakt gebruik van cookies
        deze site maakt gebruik van cookies
        deze website gebruikt cookies
        deze site gebruikt cookies
        onze website maakt gebruik van cookies
        wij gebruiken cookies
        we gebruiken cookies
        wij maken gebruik van cookies
        maakt gebruik van cookies
        om uw ervaring te verbeteren
        om je ervaring te verbeteren
        om u de beste ervaring te bieden
        de best mogelijke ervaring
        door verder te surfen
        door gebruik te blijven maken van deze website
        als u doorgaat met het gebruik van deze site
        gaat u akkoord met het gebruik van cookies
        ga je akkoord met het gebruik van cookies
        het gebruik van cookies
        cookies accepteren
        alle cookies accepteren
        alles accepteren
        cookies weigeren
        cookie instellingen
        lees ons privacybeleid
        ons privacybeleid
        schakel javascript in
        javascript is uitgeschakeld
        uw browser ondersteunt geen
        meld u aan voor onze nieuwsbrief
        meld je aan voor onze nieuwsbrief
        schrijf je in voor onze nieuwsbrief
        abonneer je op
        je e mailadres wordt niet gepubliceerd
        vereiste velden zijn gemarkeerd
        deel dit artikel
        delen op facebook
        deel op facebook
        volg ons op
        alle rechten voorbehouden
        klik hier
        lees verder
        lees meer
        ga naar de inhoud
        ga naar inhoud
        terug naar boven
        terug naar de homepage
        wachtwoord vergeten
        je moet ingelogd zijn
        inloggen of registreren
        geef een reactie
        laat een reactie achter
        pagina niet gevonden
        de pagina die u zoekt
        de opgevraagde pagina
        probeer het later opnieuw
        in winkelwagen
        uw winkelwagen is leer
        uw winkelwagen is leeg
        dit vind je misschien ook leuk
        gerelateerde artikelen
        lees ook
    """,
    "swe": """
        den här webbplatsen använder cookies
        denna webbplats använder cookies
        denna webbplats använder kakor
        den här webbplatsen använder kakor
        denna sida använder cookies
        vi använder cookies
        vi använder kakor
        använder cookies för att
        för att förbättra din upplevelse
        för att ge dig en bättre upplevelse
        för att ge dig bästa möjliga upplevelse
        genom att fortsätta använda
        genom att använda vår webbplats
        godkänner du att vi använder cookies
        godkänner du användningen av cookies
        samtycker du till
        acceptera alla cookies
        acceptera cookies
        acceptera alla
        hantera cookies
        läs mer om cookies
        läs vår integritetspolicy
        vår integritetspolicy
        aktivera javascript
        javascript är inaktiverat
        din webbläsare stöder inte
        prenumerera på vårt nyhetsbrev
        anmäl dig till vårt nyhetsbrev
        din e postadress publiceras inte
        obligatoriska fält är märkta
        dela den här artikeln
        dela på facebook
        följ oss på
        med ensamrätt
        alla rättigheter förbehållna
        klicka här
        läs mer
        hoppa till innehåll
        gå till innehåll
        tillbaka till toppen
        till startsidan
        glömt lösenord
        glömt ditt lösenord
        du måste vara inloggad
        lämna en kommentar
        sidan kunde inte hittas
        sidan hittades inte
        lägg i varukorg
        varukorgen är tom
        du kanske också gillar
        relaterade artiklar
    """,
    "dan": """
        denne hjemmeside bruger cookies
        denne side bruger cookies
        dette website bruger cookies
        vi bruger cookies
        vi anvender cookies
        hjemmesiden bruger cookies
        for at forbedre din oplevelse
        for at give dig den bedste oplevelse
        ved at fortsætte med at bruge
        ved at bruge hjemmesiden
        accepterer du brugen af cookies
        accepterer du vores brug af cookies
        brug af cookies
        accepter alle cookies
        accepter cookies
        accepter alle
        afvis alle
        læs vores privatlivspolitik
        vores privatlivspolitik
        aktiver javascript
        slå javascript til
        din browser understøtter ikke
        tilmeld dig vores nyhedsbrev
        tilmeld nyhedsbrev
        din e mailadresse vil ikke blive publiceret
        del denne artikel
        del på facebook
        følg os på
        alle rettigheder forbeholdes
        klik her
        læs mere
        gå til indhold
        spring til indhold
        til toppen
        glemt adgangskode
        glemt din adgangskode
        du skal være logget ind
        skriv en kommentar
        siden blev ikke fundet
        siden findes ikke
        læg i kurv
        din kurv er tom
        måske kan du også lide
        relaterede artikler
        handelsbetingelser og
    """,
    "nor": """
        dette nettstedet bruker cookies
        dette nettstedet bruker informasjonskapsler
        denne nettsiden bruker cookies
        denne nettsiden bruker informasjonskapsler
        vi bruker cookies
        vi bruker informasjonskapsler
        bruk av informasjonskapsler
        for å forbedre din opplevelse
        for å forbedre brukeropplevelsen
        for å gi deg en bedre opplevelse
        ved å fortsette å bruke
        godtar du bruken av
        godtar du vår bruk av
        godta alle informasjonskapsler
        godta alle
        godta cookies
        les vår personvernerklæring
        vår personvernerklæring
        aktiver javascript
        slå på javascript
        nettleseren din støtter ikke
        meld deg på vårt nyhetsbrev
        meld deg på nyhetsbrevet
        din e postadresse vil ikke bli publisert
        del denne artikkelen
        del på facebook
        følg oss på
        alle rettigheter reservert
        klikk her
        les mer
        gå til innhold
        hopp til innhold
        til toppen
        glemt passord
        glemt passordet
        du må være innlogget
        legg igjen en kommentar
        siden ble ikke funnet
        fant ikke siden
        ingen tilgang
        legg i handlekurv
        handlekurven er tom
        relaterte artikler
    """,
    "fin": """
        tämä sivusto käyttää evästeitä
        tämä verkkosivusto käyttää evästeitä
        sivusto käyttää evästeitä
        sivustomme käyttää evästeitä
        käytämme evästeitä
        evästeiden käytön
        evästeiden käyttöön
        parantaaksemme käyttökokemusta
        parantaaksemme käyttäjäkokemusta
        jatkamalla sivuston käyttöä
        jatkamalla selaamista
        hyväksyt evästeiden käytön
        hyväksy kaikki evästeet
        hyväksy evästeet
        hyväksy kaikki
        evästeasetukset
        tietosuojaselosteemme
        lue tietosuojaseloste
        ota javascript käyttöön
        javascript on poistettu käytöstä
        selaimesi ei tue
        tilaa uutiskirje
        tilaa uutiskirjeemme
        sähköpostiosoitettasi ei julkaista
        jaa facebookissa
        jaa tämä artikkeli
        seuraa meitä
        kaikki oikeudet pidätetään
        klikkaa tästä
        napsauta tätä
        lue lisää
        siirry sisältöön
        takaisin ylös
        takaisin etusivulle
        unohditko salasanan
        unohditko salasanasi
        kirjaudu sisään kommentoidaksesi
        jätä kommentti
        sivua ei löytynyt
        sivua ei löydy
        pääsy kielletty
        lisää ostoskoriin
        ostoskori on tyhjä
        saatat pitää myös
    """,
    "isl": """
        þessi vefur notar vafrakökur
        þessi síða notar vafrakökur
        við notum vafrakökur
        notkun á vafrakökum
        samþykkja allar vafrakökur
        allur réttur áskilinn
        öll réttindi áskilin
        smelltu hér
        lesa meira
        síða fannst ekki
        skráðu þig á póstlistann
        deila á facebook
        fylgdu okkur á
        gleymt lykilorð
    """,
    "pol": """
        ta strona używa cookies
        ta strona używa plików cookies
        ta strona korzysta z plików cookie
        ta strona korzysta z plików cookies
        ta witryna używa plików cookie
        ta witryna korzysta z plików cookie
        nasza strona używa plików cookies
        nasza strona korzysta z plików cookies
        strona korzysta z plików cookies
        strona używa plików cookies
        używamy plików cookie
        używamy plików cookies
        korzystamy z plików cookie
        korzystamy z plików cookies
        wykorzystujemy pliki cookies
        w celu świadczenia usług
        aby zapewnić najlepszą jakość
        aby poprawić jakość
        dalsze korzystanie ze strony
        korzystając ze strony
        korzystając z naszej strony
        kontynuując przeglądanie
        wyrażasz zgodę na używanie
        wyrażasz zgodę na używanie plików cookies
        zgadzasz się na używanie
        zgodę na używanie cookie
        akceptuj wszystkie
        akceptuję pliki cookies
        zaakceptuj wszystkie
        ustawienia plików cookie
        ustawienia cookies
        polityka plików cookies
        polityka cookies
        naszą politykę prywatności
        polityką prywatności
        w polityce prywatności
        włącz javascript
        włącz obsługę javascript
        twoja przeglądarka nie obsługuje
        zapisz się do newslettera
        zapisz się na newsletter
        zapisz się na nasz newsletter
        twój adres e mail nie zostanie opublikowany
        pola oznaczone gwiazdką
        wymagane pola są oznaczone
        udostępnij na facebooku
        udostępnij ten artykuł
        śledź nas na
        wszelkie prawa zastrzeżone
        wszystkie prawa zastrzeżone
        kliknij tutaj
        czytaj więcej
        czytaj dalej
        przejdź do treści
        przejdź do głównej treści
        powrót do góry
        powrót do strony głównej
        nie pamiętasz hasła
        zapomniałeś hasła
        musisz się zalogować
        zaloguj się aby
        zaloguj się lub zarejestruj
        dodaj komentarz
        zostaw komentarz
        strona nie została znaleziona
        nie znaleziono strony
        strona której szukasz
        dodaj do koszyka
        twój koszyk jest pusty
        powiązane artykuły
        czytaj także
        zobacz także
    """,
    "ces": """
        tento web používá cookies
        tento web používá soubory cookie
        tyto stránky používají cookies
        tyto stránky využívají cookies
        tato stránka používá cookies
        naše stránky používají cookies
        používáme cookies
        používáme soubory cookie
        k poskytování služeb
        abychom vám poskytli co nejlepší
        pro zlepšení uživatelského
        používáním tohoto webu
        dalším používáním webu
        souhlasíte s používáním cookies
        souhlasím s používáním cookies
        přijmout všechny cookies
        přijmout vše
        odmítnout vše
        povolit vše
        nastavení cookies
        zásady ochrany osobních údajů
        zapněte javascript
        povolte javascript
        váš prohlížeč nepodporuje
        přihlaste se k odběru
        přihlásit k odběru novinek
        odebírejte náš newsletter
        vaše e mailová adresa nebude zveřejněna
        vyžadované informace jsou označeny
        sdílet na facebooku
        sdílejte článek
        sledujte nás na
        všechna práva vyhrazena
        klikněte zde
        klikněte sem
        číst dále
        přeskočit na obsah
        přejít k obsahu
        zpět nahoru
        zpět na hlavní stránku
        zapomenuté heslo
        zapomněli jste heslo
        musíte být přihlášeni
        přidat komentář
        napsat komentář
        stránka nenalezena
        stránka nebyla nalezena
        přidat do košíku
        váš košík je prázdný
        mohlo by vás zajímat
        související články
    """,
    "slk": """
        táto stránka používa cookies
        táto stránka používa súbory cookie
        táto webová stránka používa
        naša stránka používa cookies
        používame cookies
        používame súbory cookie
        používaním tejto stránky
        súhlasíte s používaním cookies
        súhlasím s používaním cookies
        prijať všetky cookies
        prijať všetko
        nastavenia cookies
        zásady ochrany osobných údajov
        zapnite javascript
        povoľte javascript
        váš prehliadač nepodporuje
        prihláste sa na odber
        odoberajte novinky
        vaša e mailová adresa nebude zverejnená
        zdieľať na facebooku
        sledujte nás na
        všetky práva vyhradené
        kliknite sem
        kliknite tu
        čítať ďalej
        preskočiť na obsah
        späť hore
        zabudnuté heslo
        zabudli ste heslo
        pridať komentár
        stránka nebola nájdená
        stránka sa nenašla
        pridať do košíka
        váš košík je prázdny
        súvisiace články
        mohlo by vás zaujímať
    """,
    "slv": """
        ta stran uporablja piškotke
        ta spletna stran uporablja piškotke
        spletno mesto uporablja piškotke
        uporabljamo piškotke
        z uporabo piškotkov
        strinjate z uporabo piškotkov
        sprejmi vse piškotke
        sprejmi vse
        nastavitve piškotkov
        omogočite javascript
        prijavite se na e novice
        prijava na e novice
        delite na facebooku
        sledite nam na
        vse pravice pridržane
        kliknite tukaj
        preberi več
        preskoči na vsebino
        nazaj na vrh
        pozabljeno geslo
        ste pozabili geslo
        dodaj komentar
        stran ni bila najdena
        strani ni mogoče najti
        dodaj v košarico
        vaša košarica je prazna
    """,
    "hrv": """
        ova stranica koristi kolačiće
        ova web stranica koristi kolačiće
        naša stranica koristi kolačiće
        ovaj sajt koristi kolačiće
        koristimo kolačiće
        korištenje kolačića
        korištenjem kolačića
        slažete se s korištenjem kolačića
        nastavkom korištenja
        nastavkom pregleda
        prihvati sve kolačiće
        prihvati kolačiće
        prihvati sve
        postavke kolačića
        pravila privatnosti
        politika privatnosti
        omogućite javascript
        vaš preglednik ne podržava
        prijavite se na naš newsletter
        pretplatite se na
        vaša adresa e pošte neće biti objavljena
        podijeli na facebooku
        podeli na fejsbuku
        pratite nas na
        sva prava pridržana
        sva prava zadržana
        kliknite ovdje
        kliknite ovde
        pročitaj više
        pročitajte više
        preskoči na sadržaj
        povratak na vrh
        zaboravljena lozinka
        zaboravili ste lozinku
        ostavite komentar
        odgovori otkaži odgovor
        stranica nije pronađena
        dodaj u košaricu
        dodaj u korpu
        vaša košarica je prazna
        povezani članci
    """,
    "srp": """
        овај сајт користи колачиће
        ова страница користи колачиће
        користимо колачиће
        прихвати све
        прихвати колачиће
        политика приватности
        сва права задржана
        кликните овде
        прочитај више
        страница није пронађена
        поделите на фејсбуку
        пратите нас на
        заборављена лозинка
        оставите коментар
        додај у корпу
    """,
    "hun": """
        ez a weboldal sütiket használ
        ez az oldal sütiket használ
        a weboldal sütiket használ
        az oldal sütiket használ
        weboldalunk sütiket használ
        honlapunk sütiket használ
        sütiket használunk
        cookie kat használ
        cookie kat használunk
        a felhasználói élmény javítása
        az oldal további használatával
        a weboldal használatával
        elfogadja a sütik használatát
        elfogadja a cookie k használatát
        összes elfogadása
        összes süti elfogadása
        süti beállítások
        adatvédelmi irányelvek
        adatkezelési tájékoztató
        adatvédelmi tájékoztató
        engedélyezze a javascriptet
        a böngészője nem támogatja
        iratkozzon fel hírlevelünkre
        iratkozz fel hírlevelünkre
        feliratkozás hírlevélre
        az e mail címet nem tesszük közzé
        megosztás facebookon
        kövessen minket
        kövess minket
        minden jog fenntartva
        kattintson ide
        kattints ide
        tovább olvasom
        ugrás a tartalomhoz
        ugrás a tartalomra
        vissza a tetejére
        vissza a főoldalra
        elfelejtett jelszó
        elfelejtette jelszavát
        szólj hozzá
        hozzászólás küldése
        az oldal nem található
        a keresett oldal nem található
        kosárba teszem
        a kosár üres
        kapcsolódó cikkek
    """,
    "ron": """
        acest site folosește cookies
        acest site folosește cookie uri
        acest site utilizează cookies
        acest site utilizează cookie uri
        acest website folosește cookies
        site ul nostru folosește cookies
        folosim cookies
        folosim cookie uri
        utilizăm cookie uri
        pentru a îmbunătăți experiența
        pentru a vă oferi cea mai bună experiență
        continuarea navigării
        prin continuarea navigării
        sunteți de acord cu utilizarea cookie urilor
        ești de acord cu utilizarea cookie urilor
        utilizarea cookie urilor
        accept toate cookie urile
        acceptă toate
        setări cookie
        politica de cookies
        politica de confidențialitate
        activați javascript
        browserul dumneavoastră nu suportă
        abonați vă la newsletter
        abonează te la newsletter
        adresa ta de email nu va fi publicată
        câmpurile obligatorii sunt marcate
        distribuie pe facebook
        urmăriți ne pe
        urmărește ne pe
        toate drepturile rezervate
        click aici
        apasă aici
        citește mai mult
        citește mai departe
        sari la conținut
        mergi la conținut
        înapoi sus
        ai uitat parola
        ați uitat parola
        trebuie să fii autentificat
        lasă un comentariu
        lasă un răspuns
        pagina nu a fost găsită
        pagina nu există
        adaugă în coș
        coșul tău este gol
        articole similare
        citește și
    """,
    "bul": """
        този сайт използва бисквитки
        този уебсайт използва бисквитки
        нашият сайт използва бисквитки
        използваме бисквитки
        сайтът използва бисквитки
        използването на бисквитки
        съгласявате с използването на бисквитки
        приемам всички бисквитки
        приемам бисквитките
        приемам всички
        настройки на бисквитките
        политика за поверителност
        политика за бисквитки
        моля активирайте javascript
        вашият браузър не поддържа
        абонирайте се за нашия бюлетин
        абонирай се за бюлетина
        вашият имейл адрес няма да бъде публикуван
        сподели във фейсбук
        последвайте ни
        всички права запазени
        кликнете тук
        натиснете тук
        прочетете повече
        прочети повече
        към съдържанието
        към началото
        забравена парола
        забравихте паролата
        вашият коментар
        оставете коментар
        страницата не е намерена
        добави в количката
        количката ви е празна
        свързани статии
    """,
    "rus": """
        этот сайт использует cookie
        этот сайт использует файлы cookie
        этот сайт использует cookies
        наш сайт использует файлы cookie
        наш сайт использует cookie
        сайт использует файлы cookie
        сайт использует cookie
        мы используем файлы cookie
        мы используем cookie
        мы используем cookies
        мы используем куки
        используем файлы cookie
        для улучшения работы сайта
        чтобы улучшить работу сайта
        для удобства пользователей
        продолжая использовать сайт
        продолжая использовать наш сайт
        продолжая пользоваться сайтом
        продолжая просмотр
        оставаясь на сайте
        используя этот сайт
        вы соглашаетесь с использованием
        вы соглашаетесь на использование
        вы соглашаетесь с нашей политикой
        вы даете согласие на обработку
        согласие на обработку персональных данных
        использованием файлов cookie
        принять все cookie
        принять все
        отклонить все
        настройки cookie
        политика конфиденциальности
        политикой конфиденциальности
        политику конфиденциальности
        пользовательское соглашение
        условия использования сайта
        пожалуйста включите javascript
        включите javascript
        для работы сайта необходим javascript
        javascript отключен
        ваш браузер не поддерживает
        ваш браузер устарел
        подпишитесь на нашу рассылку
        подписаться на рассылку
        подпишитесь на рассылку
        подпишитесь на наш канал
        подписывайтесь на наш канал
        подписывайтесь на нас
        ваш адрес email не будет опубликован
        ваш e mail не будет опубликован
        обязательные поля помечены
        поделиться в социальных сетях
        поделиться ссылкой
        поделитесь с друзьями
        поделиться в facebook
        поделиться вконтакте
        поделиться статьей
        мы в социальных сетях
        следите за нами
        все права защищены
        при использовании материалов сайта
        перепечатка материалов
        копирование материалов
        при перепечатке ссылка
        нажмите здесь
        кликните здесь
        нажмите сюда
        читать далее
        читать полностью
        читать дальше
        перейти к содержимому
        перейти к содержанию
        перейти к основному содержанию
        наверх страницы
        вернуться наверх
        вернуться на главную
        на главную страницу
        забыли пароль
        войти или зарегистрироваться
        войдите или зарегистрируйтесь
        войдите чтобы
        авторизуйтесь чтобы
        чтобы оставить комментарий
        оставить комментарий
        добавить комментарий
        страница не найдена
        запрашиваемая страница
        страница не существует
        попробуйте позже
        добавить в корзину
        ваша корзина пуста
        вам может понравиться
        похожие статьи
        похожие записи
        читайте также
        версия для печати
    """,
    "ukr": """
        цей сайт використовує cookie
        цей сайт використовує файли cookie
        цей вебсайт використовує файли cookie
        наш сайт використовує файли cookie
        сайт використовує файли cookie
        ми використовуємо файли cookie
        ми використовуємо cookie
        ми використовуємо cookies
        продовжуючи користуватися сайтом
        продовжуючи використовувати
        продовжуючи перегляд
        ви погоджуєтесь з використанням
        ви погоджуєтеся з використанням
        ви погоджуєтеся на використання
        використанням файлів cookie
        прийняти всі
        прийняти все
        налаштування cookie
        політика конфіденційності
        політикою конфіденційності
        умови використання сайту
        увімкніть javascript
        будь ласка увімкніть javascript
        ваш браузер не підтримує
        підпишіться на нашу розсилку
        підписатися на розсилку
        підписуйтесь на наш канал
        підписуйтеся на наш канал
        ваша e mail адреса не оприлюднюватиметься
        поділитися у facebook
        поділитися в соціальних мережах
        стежте за нами
        усі права захищені
        всі права захищені
        усі права застережено
        при використанні матеріалів
        натисніть тут
        читати далі
        читати більше
        перейти до вмісту
        перейти до основного вмісту
        на головну сторінку
        повернутися на головну
        забули пароль
        увійдіть або зареєструйтесь
        залишити коментар
        додати коментар
        сторінку не знайдено
        додати до кошика
        ваш кошик порожній
        читайте також
        схожі статті
    """,
    "bel": """
        гэты сайт выкарыстоўвае файлы cookie
        мы выкарыстоўваем файлы cookie
        палітыка прыватнасці
        усе правы абаронены
        націсніце тут
        чытаць далей
        старонка не знойдзена
        забылі пароль
        пакінуць каментар
        падпісацца на рассылку
    """,
    "ell": """
        αυτός ο ιστότοπος χρησιμοποιεί cookies
        η ιστοσελίδα μας χρησιμοποιεί cookies
        η ιστοσελίδα χρησιμοποιεί cookies
        ο ιστότοπος χρησιμοποιεί cookies
        αυτή η ιστοσελίδα χρησιμοποιεί cookies
        χρησιμοποιούμε cookies
        για να βελτιώσουμε την εμπειρία σας
        για την καλύτερη εμπειρία
        συνεχίζοντας την περιήγηση
        συνεχίζοντας να χρησιμοποιείτε
        αποδέχεστε τη χρήση cookies
        αποδέχεστε την χρήση cookies
        συμφωνείτε με τη χρήση
        αποδοχή όλων
        αποδοχή cookies
        ρυθμίσεις cookies
        πολιτική cookies
        πολιτική απορρήτου
        όροι χρήσης και
        ενεργοποιήστε τη javascript
        ενεργοποιήστε την javascript
        ο περιηγητής σας δεν υποστηρίζει
        εγγραφείτε στο newsletter
        εγγραφή στο newsletter
        η ηλ διεύθυνση σας δεν δημοσιεύεται
        κοινοποίηση στο facebook
        ακολουθήστε μας
        με επιφύλαξη παντός δικαιώματος
        όλα τα δικαιώματα διατηρούνται
        κάντε κλικ εδώ
        πατήστε εδώ
        διαβάστε περισσότερα
        διαβάστε επίσης
        μετάβαση στο περιεχόμενο
        επιστροφή στην κορυφή
        ξεχάσατε τον κωδικό
        ξεχάσατε τον κωδικό σας
        αφήστε ένα σχόλιο
        η σελίδα δεν βρέθηκε
        προσθήκη στο καλάθι
        το καλάθι σας είναι άδειο
        σχετικά άρθρα
    """,
    "tur": """
        bu site çerezleri kullanır
        bu site çerez kullanır
        bu site çerez kullanmaktadır
        bu web sitesi çerezleri kullanır
        bu web sitesi çerez kullanmaktadır
        sitemizde çerez kullanılmaktadır
        sitemizde çerezler kullanılmaktadır
        web sitemizde çerezler kullanılmaktadır
        çerezleri kullanıyoruz
        çerezler kullanıyoruz
        çerez kullanıyoruz
        size en iyi deneyimi sunmak için
        deneyiminizi iyileştirmek için
        deneyiminizi geliştirmek için
        sitemizi kullanmaya devam ederek
        siteyi kullanmaya devam ederek
        siteyi kullanmaya devam ettiğinizde
        çerez kullanımını kabul etmiş olursunuz
        çerezlerin kullanımını kabul
        çerez kullanımını kabul
        çerezleri kabul et
        tüm çerezleri kabul et
        tümünü kabul et
        tümünü reddet
        çerez ayarları
        çerez politikası
        gizlilik politikamızı
        gizlilik politikası
        kullanım koşulları ve
        lütfen javascript i etkinleştirin
        javascript i etkinleştirin
        tarayıcınız desteklemiyor
        tarayıcınız javascript
        bültenimize abone olun
        bültenimize kaydolun
        e posta bültenimize
        kanalımıza abone olun
        e posta hesabınız yayımlanmayacak
        e posta adresiniz yayınlanmayacak
        gerekli alanlar
        facebook ta paylaş
        twitter da paylaş
        bizi takip edin
        tüm hakları saklıdır
        her hakkı saklıdır
        buraya tıklayın
        tıklayınız
        devamını oku
        devamı için tıklayınız
        içeriğe geç
        içeriğe atla
        başa dön
        yukarı çık
        ana sayfaya dön
        şifremi unuttum
        şifrenizi mi unuttunuz
        yorum yapmak için
        yorum yap
        bir yanıt yazın
        giriş yapmalısınız
        giriş yap veya üye ol
        sayfa bulunamadı
        aradığınız sayfa bulunamadı
        aradığınız sayfa
        erişim engellendi
        sepete ekle
        sepetiniz boş
        benzer yazılar
        ilgili haberler
    """,
    "ara": """
        يستخدم هذا الموقع ملفات تعريف الارتباط
        هذا الموقع يستخدم ملفات تعريف الارتباط
        نستخدم ملفات تعريف الارتباط
        نحن نستخدم ملفات تعريف الارتباط
        يستخدم موقعنا ملفات تعريف الارتباط
        ملفات تعريف الارتباط لتحسين
        ملفات تعريف الارتباط
        هذا الموقع يستخدم الكوكيز
        لتحسين تجربتك
        لتحسين تجربة المستخدم
        لنقدم لك أفضل تجربة
        باستمرارك في تصفح
        بمواصلة تصفح
        باستخدامك لهذا الموقع
        باستمرارك في استخدام
        فإنك توافق على استخدام
        أنت توافق على
        فإنك توافق على سياسة
        قبول الكل
        قبول جميع ملفات
        رفض الكل
        إعدادات ملفات
        سياسة الخصوصية
        شروط الاستخدام و
        شروط الاستخدام وسياسة الخصوصية
        يرجى تفعيل جافا سكريبت
        يرجى تمكين جافا سكريبت
        يرجى تفعيل javascript
        متصفحك لا يدعم
        المتصفح الخاص بك لا يدعم
        اشترك في نشرتنا
        اشترك في النشرة البريدية
        اشترك في النشرة الإخبارية
        اشترك في القناة
        لن يتم نشر عنوان بريدك الإلكتروني
        الحقول الإلزامية مشار إليها
        شارك هذا المقال
        شارك على فيسبوك
        شارك المقال
        مشاركة على فيسبوك
        تابعنا على
        تابعونا على
        جميع الحقوق محفوظة
        كل الحقوق محفوظة
        اضغط هنا
        انقر هنا
        اقرأ المزيد
        قراءة المزيد
        أكمل القراءة
        اقرأ أيضا
        تخطي إلى المحتوى
        انتقل إلى المحتوى
        العودة إلى الأعلى
        العودة إلى الصفحة الرئيسية
        هل نسيت كلمة المرور
        نسيت كلمة المرور
        نسيت كلمة السر
        يجب تسجيل الدخول
        تسجيل الدخول أو
        سجل الدخول
        اترك تعليقا
        اترك ردا
        أضف تعليقا
        الصفحة غير موجودة
        لم يتم العثور على الصفحة
        الصفحة المطلوبة
        تم رفض الوصول
        أضف إلى السلة
        سلة التسوق فارغة
        مقالات ذات صلة
        مواضيع ذات صلة
        قد يعجبك أيضا
    """,
    "fas": """
        این سایت از کوکی ها استفاده می کند
        این وب سایت از کوکی ها استفاده می کند
        این سایت از کوکی استفاده می کند
        ما از کوکی ها استفاده می کنیم
        ما از کوکی استفاده می کنیم
        از کوکی ها استفاده
        برای بهبود تجربه
        با ادامه استفاده از این سایت
        پذیرش همه
        حریم خصوصی و
        سیاست حفظ حریم خصوصی
        لطفا جاوا اسکریپت را فعال کنید
        جاوا اسکریپت را فعال
        مرورگر شما پشتیبانی نمی کند
        مرورگر شما از
        در خبرنامه ما عضو شوید
        عضویت در خبرنامه
        نشانی ایمیل شما منتشر نخواهد شد
        بخش های موردنیاز علامت گذاری شده اند
        اشتراک گذاری در
        به اشتراک بگذارید
        ما را دنبال کنید
        تمامی حقوق محفوظ است
        کلیه حقوق محفوظ است
        تمام حقوق محفوظ است
        تمامی حقوق این سایت
        کلیه حقوق این سایت
        اینجا کلیک کنید
        کلیک کنید
        ادامه مطلب
        بیشتر بخوانید
        پرش به محتوا
        بازگشت به بالا
        رمز عبور خود را فراموش کرده اید
        فراموشی رمز عبور
        دیدگاهتان را بنویسید
        ارسال دیدگاه
        صفحه مورد نظر یافت نشد
        صفحه یافت نشد
        صفحه پیدا نشد
        افزودن به سبد خرید
        سبد خرید شما خالی است
        مطالب مرتبط
    """,
    "urd": """
        ہم کوکیز استعمال کرتے ہیں
        یہ ویب سائٹ کوکیز استعمال کرتی ہے
        کوکیز کے استعمال
        رازداری کی پالیسی
        جملہ حقوق محفوظ ہیں
        تمام حقوق محفوظ ہیں
        یہاں کلک کریں
        مزید پڑھیں
        یہ بھی پڑھیں
        صفحہ نہیں ملا
        پاس ورڈ بھول گئے
        فیس بک پر شیئر کریں
        ہمیں فالو کریں
        تبصرہ کریں
    """,
    "heb": """
        אתר זה משתמש בעוגיות
        אתר זה עושה שימוש בעוגיות
        אתר זה משתמש בקובצי cookie
        האתר משתמש בעוגיות
        האתר עושה שימוש בעוגיות
        אנו משתמשים בעוגיות
        אנחנו משתמשים בעוגיות
        שימוש בעוגיות
        לשפר את חווית הגלישה
        כדי לשפר את חוויית
        המשך גלישה באתר
        המשך הגלישה באתר
        קבל את כל העוגיות
        אישור כל העוגיות
        מדיניות הפרטיות שלנו
        מדיניות פרטיות
        תנאי שימוש ומדיניות
        יש להפעיל javascript
        אנא הפעל javascript
        הדפדפן שלך אינו תומך
        הירשמו לניוזלטר
        הרשמו לניוזלטר
        הצטרפו לניוזלטר
        האימייל לא יוצג באתר
        שדות החובה מסומנים
        שתפו בפייסבוק
        שתף בפייסבוק
        עקבו אחרינו
        כל הזכויות שמורות
        לחצו כאן
        לחץ כאן
        קרא עוד
        קראו עוד
        דלג לתוכן
        דילוג לתוכן
        חזרה למעלה
        חזרה לדף הבית
        שכחת סיסמה
        שכחתי סיסמה
        כתיבת תגובה
        השאירו תגובה
        הדף לא נמצא
        העמוד לא נמצא
        הוסף לסל
        סל הקניות ריק
        כתבות נוספות
    """,
    "hin": """
        यह वेबसाइट कुकीज़ का उपयोग करती है
        यह वेबसाइट कुकीज का उपयोग करती है
        यह साइट कुकीज़ का उपयोग करती है
        हम कुकीज़ का उपयोग करते हैं
        हम कुकीज का उपयोग करते हैं
        कुकीज़ का उपयोग
        कुकीज के उपयोग
        कुकीज़ के उपयोग
        आपके अनुभव को बेहतर बनाने के लिए
        सर्वोत्तम अनुभव प्रदान करने के लिए
        इस साइट का उपयोग जारी रखकर
        सभी कुकीज़ स्वीकार करें
        सभी स्वीकार करें
        हमारी गोपनीयता नीति
        गोपनीयता नीति
        कृपया जावास्क्रिप्ट सक्षम करें
        आपका ब्राउज़र समर्थन नहीं करता
        हमारे न्यूज़लेटर की सदस्यता लें
        हमारे चैनल को सब्सक्राइब करें
        आपका ईमेल पता प्रकाशित नहीं किया जाएगा
        फेसबुक पर शेयर करें
        फेसबुक पर साझा करें
        हमें फॉलो करें
        सर्वाधिकार सुरक्षित
        यहाँ क्लिक करें
        यहां क्लिक करें
        और पढ़ें
        यह भी पढ़ें
        ये भी पढ़ें
        सामग्री पर जाएं
        मुख्य सामग्री पर जाएं
        पासवर्ड भूल गए
        टिप्पणी करें
        अपनी टिप्पणी दें
        पृष्ठ नहीं मिला
        पेज नहीं मिला
        कार्ट में जोड़ें
    """,
    "ben": """
        এই ওয়েবসাইট কুকি ব্যবহার করে
        এই সাইট কুকি ব্যবহার করে
        আমরা কুকি ব্যবহার করি
        কুকি ব্যবহার
        গোপনীয়তা নীতি
        সর্বস্বত্ব সংরক্ষিত
        স্বত্ব সংরক্ষিত
        এখানে ক্লিক করুন
        আরও পড়ুন
        আরো পড়ুন
        বিস্তারিত পড়ুন
        ফেসবুকে শেয়ার করুন
        আমাদের অনুসরণ করুন
        পাসওয়ার্ড ভুলে গেছেন
        মন্তব্য করুন
        আপনার মন্তব্য লিখুন
        পৃষ্ঠাটি পাওয়া যায়নি
        জাভাস্ক্রিপ্ট সক্রিয় করুন
        নিউজলেটার সাবস্ক্রাইব করুন
        কার্টে যোগ করুন
    """,
    "tam": """
        இந்த தளம் குக்கீகளை பயன்படுத்துகிறது
        இந்த இணையதளம் குக்கீகளைப் பயன்படுத்துகிறது
        நாங்கள் குக்கீகளைப் பயன்படுத்துகிறோம்
        தனியுரிமைக் கொள்கை
        அனைத்து உரிமைகளும் பாதுகாக்கப்பட்டவை
        இங்கே கிளிக் செய்யவும்
        இங்கே சொடுக்கவும்
        மேலும் படிக்க
        மேலும் வாசிக்க
        கடவுச்சொல்லை மறந்துவிட்டீர்களா
        பக்கம் கிடைக்கவில்லை
        எங்களை பின்தொடரவும்
    """,
    "tel": """
        ఈ వెబ్‌సైట్ కుకీలను ఉపయోగిస్తుంది
        మేము కుకీలను ఉపయోగిస్తాము
        గోప్యతా విధానం
        సర్వ హక్కులు ప్రత్యేకించబడినవి
        ఇక్కడ క్లిక్ చేయండి
        ఇంకా చదవండి
        పేజీ కనుగొనబడలేదు
    """,
    "tha": """
        เว็บไซต์นี้ใช้คุกกี้
        เว็บไซต์ของเราใช้คุกกี้
        เราใช้คุกกี้
        มีการใช้งานคุกกี้
        การใช้คุกกี้
        เพื่อเพิ่มประสิทธิภาพ
        เพื่อปรับปรุงประสบการณ์
        เพื่อมอบประสบการณ์
        ประสบการณ์ที่ดีในการใช้งานเว็บไซต์
        ยอมรับคุกกี้ทั้งหมด
        ยอมรับทั้งหมด
        ยอมรับคุกกี้
        ตั้งค่าคุกกี้
        นโยบายคุกกี้
        นโยบายความเป็นส่วนตัว
        กรุณาเปิดใช้งานจาวาสคริปต์
        โปรดเปิดใช้งาน javascript
        เบราว์เซอร์ของคุณไม่รองรับ
        สมัครรับจดหมายข่าว
        สมัครรับข่าวสาร
        แชร์บนเฟซบุ๊ก
        แชร์ไปยังเฟซบุ๊ก
        ติดตามเราได้ที่
        ติดตามเราบน
        สงวนลิขสิทธิ์
        คลิกที่นี่
        อ่านเพิ่มเติม
        อ่านต่อ
        ข้ามไปยังเนื้อหา
        ข้ามไปที่เนื้อหา
        กลับสู่ด้านบน
        กลับหน้าแรก
        ลืมรหัสผ่าน
        กรุณาเข้าสู่ระบบ
        แสดงความคิดเห็น
        ไม่พบหน้าที่คุณต้องการ
        ไม่พบหน้านี้
        หยิบใส่ตะกร้า
        เพิ่มลงตะกร้า
        บทความที่เกี่ยวข้อง
    """,
    "vie": """
        trang web này sử dụng cookie
        trang này sử dụng cookie
        website này sử dụng cookie
        chúng tôi sử dụng cookie
        sử dụng cookie để
        để cải thiện trải nghiệm
        để mang lại trải nghiệm tốt nhất
        bằng cách tiếp tục sử dụng
        bằng việc tiếp tục sử dụng
        bạn đồng ý với việc sử dụng cookie
        bạn đồng ý với chính sách
        chấp nhận tất cả cookie
        chấp nhận tất cả
        từ chối tất cả
        cài đặt cookie
        chính sách cookie
        chính sách bảo mật
        điều khoản sử dụng và
        vui lòng bật javascript
        vui lòng kích hoạt javascript
        trình duyệt của bạn không hỗ trợ
        đăng ký nhận bản tin
        đăng ký nhận tin
        đăng ký kênh
        email của bạn sẽ không được hiển thị công khai
        các trường bắt buộc được đánh dấu
        chia sẻ bài viết này
        chia sẻ lên facebook
        chia sẻ trên facebook
        theo dõi chúng tôi
        bảo lưu mọi quyền
        giữ bản quyền nội dung
        nhấn vào đây
        nhấp vào đây
        bấm vào đây
        click vào đây
        đọc thêm
        xem thêm
        đọc tiếp
        chuyển đến nội dung
        bỏ qua nội dung
        trở về trang chủ
        về đầu trang
        quên mật khẩu
        vui lòng đăng nhập
        đăng nhập hoặc đăng ký
        để lại bình luận
        để lại một bình luận
        không tìm thấy trang
        trang không tồn tại
        thêm vào giỏ hàng
        giỏ hàng của bạn đang trống
        bài viết liên quan
        có thể bạn quan tâm
    """,
    "ind": """
        situs ini menggunakan cookie
        situs web ini menggunakan cookie
        website ini menggunakan cookie
        kami menggunakan cookie
        kami menggunakan kuki
        menggunakan cookie untuk
        untuk meningkatkan pengalaman anda
        untuk memberikan pengalaman terbaik
        dengan melanjutkan menggunakan situs ini
        dengan terus menggunakan situs ini
        dengan menggunakan situs ini
        anda menyetujui penggunaan cookie
        anda setuju dengan penggunaan cookie
        penggunaan cookie
        terima semua cookie
        terima semua
        tolak semua
        pengaturan cookie
        kebijakan cookie
        kebijakan privasi kami
        kebijakan privasi
        silakan aktifkan javascript
        aktifkan javascript
        browser anda tidak mendukung
        berlangganan newsletter kami
        berlangganan buletin
        alamat email anda tidak akan dipublikasikan
        ruas yang wajib ditandai
        bagikan artikel ini
        bagikan di facebook
        bagikan ke facebook
        ikuti kami di
        hak cipta dilindungi
        hak cipta dilindungi undang undang
        hak cipta terpelihara
        klik di sini
        klik disini
        baca selengkapnya
        baca selanjutnya
        baca juga
        lanjut ke konten
        lewati ke konten
        langsung ke konten
        kembali ke atas
        kembali ke beranda
        lupa kata sandi
        lupa password
        lupa kata laluan
        silakan login
        tinggalkan komentar
        tinggalkan balasan
        halaman tidak ditemukan
        halaman tidak dijumpai
        tambah ke keranjang
        masukkan ke keranjang
        keranjang anda kosong
        artikel terkait
        laman web ini menggunakan kuki
    """,
    "swa": """
        tovuti hii inatumia vidakuzi
        tunatumia vidakuzi
        sera ya faragha
        haki zote zimehifadhiwa
        bonyeza hapa
        soma zaidi
        umesahau nenosiri
        ukurasa haukupatikana
        jiandikishe kwa jarida letu
        tufuate kwenye
        kubali vidakuzi vyote
    """,
    "fil": """
        gumagamit ang website na ito ng cookies
        gumagamit kami ng cookies
        patakaran sa privacy
        karapatan ay nakalaan
        pindutin dito
        magbasa pa
        nakalimutan ang password
        hindi nahanap ang pahina
        sundan kami sa
    """,
    "jpn": """
        当サイトはクッキーを使用
        当サイトではクッキーを使用
        当サイトではcookieを使用
        当サイトはcookieを使用
        当サイトではcookieを利用
        このサイトはcookieを使用
        このサイトではcookieを使用
        このウェブサイトはクッキーを使用
        このウェブサイトではクッキーを使用
        このウェブサイトはcookieを使用
        このウェブサイトではcookieを使用
        本サイトではcookieを使用
        本サイトはcookieを使用
        当ウェブサイトではcookieを使用
        クッキーを使用しています
        クッキーを使用します
        cookieを使用しています
        cookieを使用します
        cookieを利用しています
        cookieの使用に同意
        クッキーの使用に同意
        cookieの利用に同意
        クッキーの利用に同意
        すべてのcookieを受け入れる
        すべて受け入れる
        すべて許可
        すべて同意
        すべて拒否
        cookieの設定
        cookie設定
        cookieポリシー
        クッキーポリシー
        ユーザー体験の向上
        利便性向上のため
        サイトの利用を続ける
        閲覧を続ける
        引き続きご利用いただく
        続けてご利用いただく
        プライバシーポリシーをご覧ください
        プライバシーポリシーに同意
        プライバシーポリシーを
        利用規約に同意
        利用規約とプライバシーポリシー
        利用規約およびプライバシーポリシー
        利用規約プライバシーポリシー
        特定商取引法に基づく表記
        javascriptを有効にして
        javascriptが無効
        javascriptを有効に
        お使いのブラウザは
        ご利用のブラウザは
        ブラウザの設定で
        メールマガジンに登録
        メルマガ登録
        ニュースレターに登録
        ニュースレターを購読
        チャンネル登録
        チャンネル登録をお願いします
        メールアドレスが公開されることはありません
        が付いている欄は必須項目です
        この記事をシェア
        シェアする
        ツイートする
        フェイスブックでシェア
        facebookでシェア
        twitterでシェア
        フォローする
        フォローしてください
        公式アカウントをフォロー
        無断転載を禁じます
        無断転載禁止
        禁無断転載
        無断複写転載を禁じます
        著作権法で保護されています
        ここをクリック
        こちらをクリック
        詳しくはこちら
        詳細はこちら
        続きを読む
        もっと見る
        コンテンツへスキップ
        本文へスキップ
        本文へ移動
        ページの先頭へ
        ページトップへ
        トップページへ戻る
        トップへ戻る
        ホームへ戻る
        パスワードを忘れた
        パスワードをお忘れ
        ログインしてください
        ログインまたは
        新規会員登録
        会員登録はこちら
        お問い合わせはこちら
        コメントを残す
        コメントを投稿
        コメントする
        ページが見つかりません
        お探しのページは
        ページは存在しません
        アクセスが拒否されました
        しばらくしてからもう一度
        カートに入れる
        カートに追加
        カートは空です
        関連記事
        こちらもおすすめ
        あわせて読みたい
        おすすめ記事
    """,
    "kor": """
        이 웹사이트는 쿠키를 사용합니다
        이 사이트는 쿠키를 사용합니다
        본 사이트는 쿠키를 사용합니다
        본 웹사이트는 쿠키를 사용합니다
        당사는 쿠키를 사용합니다
        저희는 쿠키를 사용합니다
        쿠키를 사용합니다
        쿠키를 사용하고 있습니다
        쿠키 사용에 동의
        쿠키 사용에 동의합니다
        쿠키 사용에 동의하는 것으로
        최상의 경험을 제공하기 위해
        사용자 경험을 향상시키기 위해
        사이트를 계속 이용하시면
        사이트를 계속 사용하면
        모든 쿠키 허용
        모두 수락
        모두 동의
        모두 거부
        쿠키 설정
        쿠키 정책
        개인정보 처리방침
        개인정보처리방침
        개인정보 취급방침
        이용약관 개인정보처리방침
        이용약관 및 개인정보
        자바스크립트를 활성화
        자바스크립트를 사용할 수 있도록
        javascript를 활성화
        브라우저가 지원하지 않습니다
        뉴스레터를 구독
        뉴스레터 구독
        구독과 좋아요
        구독 좋아요
        이메일은 공개되지 않습니다
        필수 입력창은
        페이스북에 공유
        페이스북 공유
        트위터에 공유
        팔로우하세요
        모든 권리 보유
        저작권자
        무단 전재 및 재배포 금지
        무단전재 및 재배포 금지
        무단 전재 재배포 금지
        무단전재 재배포 금지
        여기를 클릭하세요
        여기를 클릭
        자세히 보기
        더 읽기
        더보기
        계속 읽기
        콘텐츠로 건너뛰기
        본문 바로가기
        본문으로 바로가기
        메뉴 바로가기
        맨 위로
        홈으로 돌아가기
        비밀번호를 잊으셨나요
        비밀번호 찾기
        아이디 찾기
        로그인이 필요합니다
        로그인 해주세요
        로그인 회원가입
        댓글을 남겨주세요
        댓글 남기기
        답글 남기기
        페이지를 찾을 수 없습니다
        요청하신 페이지를 찾을 수 없습니다
        접근이 거부되었습니다
        장바구니에 담기
        장바구니가 비어 있습니다
        관련 기사
        관련 글
    """,
    "zho": """
        本网站使用cookie
        本网站使用cookies
        本站使用cookie
        本站使用cookies
        我们使用cookie
        我们使用cookies
        我们的网站使用cookie
        此网站使用cookie
        该网站使用cookie
        使用cookie来
        使用cookies来
        使用cookie以
        使用cookies以
        继续浏览本网站
        继续浏览本站
        继续使用本网站
        继续使用本站
        继续浏览即表示
        即表示您同意
        即表示你同意
        您同意我们使用cookie
        您同意使用cookie
        改善您的体验
        改善用户体验
        提升您的浏览体验
        为您提供更好的服务
        为您提供最佳体验
        接受所有cookie
        接受全部cookie
        全部接受
        全部拒绝
        cookie设置
        cookie政策
        隐私政策和
        隐私政策与
        查看我们的隐私政策
        阅读我们的隐私政策
        我已阅读并同意
        用户协议和隐私政策
        用户协议与隐私政策
        服务条款和隐私政策
        服务协议和隐私政策
        请启用javascript
        请开启javascript
        启用javascript
        您的浏览器不支持
        你的浏览器不支持
        您的浏览器版本过低
        建议使用以下浏览器
        请升级浏览器
        订阅我们的邮件
        订阅我们的通讯
        订阅电子报
        订阅我们的频道
        关注我们的微信
        关注微信公众号
        关注公众号
        扫描二维码关注
        扫一扫关注
        扫码关注
        微信扫一扫
        长按二维码
        点击关注
        您的电子邮箱地址不会被公开
        您的邮箱地址不会被公开
        电子邮件地址不会被公开
        必填项已用
        分享到微信
        分享到微博
        分享到朋友圈
        分享到qq
        分享本文
        分享此文
        版权所有
        版权归原作者所有
        版权归作者所有
        未经授权不得转载
        未经许可不得转载
        未经允许不得转载
        未经授权禁止转载
        转载请注明出处
        转载请注明来源
        如有侵权请联系
        如有侵权请联系删除
        备案号
        京icp备
        沪icp备
        粤icp备
        公网安备
        点击这里
        点击此处
        点击查看
        点击查看更多
        点击下载
        查看更多
        阅读更多
        阅读全文
        展开全文
        加载更多
        跳到内容
        跳至内容
        跳转到主要内容
        跳至主要内容
        返回顶部
        回到顶部
        返回首页
        回到首页
        加入收藏
        设为首页
        忘记密码
        登录或注册
        登录注册
        请先登录
        请登录后
        登录后才能
        登录后发表评论
        立即注册
        免费注册
        发表回复
        暂无评论
        我要评论
        页面不存在
        页面未找到
        找不到页面
        您访问的页面不存在
        你访问的页面不存在
        请稍后再试
        加入购物车
        购物车为空
        购物车是空的
        立即购买
        相关文章
        相关阅读
        相关推荐
        猜你喜欢
        推荐阅读
        延伸阅读
        上一篇
        下一篇
        本網站使用cookie
        本網站使用cookies
        本站使用cookie
        我們使用cookie
        我們使用cookies
        我們的網站使用cookie
        此網站使用cookie
        繼續瀏覽本網站
        繼續使用本網站
        繼續瀏覽即表示
        即表示您同意
        您同意我們使用cookie
        您同意使用cookie
        改善您的體驗
        提升您的瀏覽體驗
        為您提供更好的服務
        為您提供最佳體驗
        接受所有cookie
        全部接受
        全部拒絕
        cookie設定
        隱私權政策和
        隱私權政策與
        我已閱讀並同意
        服務條款和隱私權政策
        服務條款與隱私權政策
        請啟用javascript
        啟用javascript
        您的瀏覽器不支援
        你的瀏覽器不支援
        訂閱電子報
        訂閱我們的頻道
        訂閱我們的電子報
        您的電子郵件地址不會被公開
        電子郵件地址不會被公開
        必填欄位已用
        分享到臉書
        分享至臉書
        分享到facebook
        分享至facebook
        追蹤我們
        按讚分享
        版權所有
        著作權所有
        未經授權不得轉載
        未經許可不得轉載
        未經授權請勿轉載
        轉載請註明出處
        點擊這裡
        點此查看
        點我看更多
        點擊查看
        查看更多
        閱讀更多
        閱讀全文
        繼續閱讀
        跳至主要內容
        跳到主要內容
        移至主內容
        回到頂部
        回頁首
        返回首頁
        回首頁
        回到首頁
        忘記密碼
        登入或註冊
        登入註冊
        請先登入
        立即註冊
        免費註冊
        發表回覆
        發佈留言
        我要留言
        頁面不存在
        找不到頁面
        找不到網頁
        您訪問的頁面不存在
        請稍後再試
        加入購物車
        購物車是空的
        立即購買
        相關文章
        相關閱讀
        相關新聞
        延伸閱讀
        推薦閱讀
        猜你喜歡
        上一篇
        下一篇
    """,
    "cat": """
        aquest lloc web utilitza galetes
        aquest lloc web fa servir galetes
        aquest web utilitza galetes
        aquest web fa servir galetes
        utilitzem galetes
        fem servir galetes
        accepta totes les galetes
        accepteu l ús de galetes
        política de galetes
        política de privadesa
        tots els drets reservats
        feu clic aquí
        fes clic aquí
        llegir més
        segueix llegint
        vés al contingut
        subscriu te al nostre butlletí
        subscriviu vos al nostre butlletí
        comparteix a facebook
        segueix nos a
        heu oblidat la contrasenya
        deixa un comentari
        no s ha trobat la pàgina
        afegeix a la cistella
    """,
    "eus": """
        webgune honek cookieak erabiltzen ditu
        cookieak erabiltzen ditugu
        eskubide guztiak erreserbatuta
        egin klik hemen
        irakurri gehiago
        ez da orria aurkitu
        pribatutasun politika
        pasahitza ahaztu duzu
    """,
    "glg": """
        este sitio web emprega cookies
        este sitio web usa cookies
        empregamos cookies
        todos os dereitos reservados
        prema aquí
        fai clic aquí
        páxina non atopada
        política de privacidade
        esqueceu o contrasinal
    """,
    "lit": """
        ši svetainė naudoja slapukus
        šioje svetainėje naudojami slapukai
        naudojame slapukus
        slapukų naudojimu
        sutinkate su slapukų naudojimu
        priimti visus slapukus
        sutinku su visais
        privatumo politika
        visos teisės saugomos
        visos teisės ginamos
        spauskite čia
        skaityti daugiau
        skaityti toliau
        įjunkite javascript
        prenumeruokite naujienlaiškį
        dalintis facebook
        sekite mus
        pamiršote slaptažodį
        palikti komentarą
        puslapis nerastas
        į krepšelį
        jūsų krepšelis tuščias
    """,
    "lav": """
        šī vietne izmanto sīkdatnes
        šajā vietnē tiek izmantotas sīkdatnes
        mēs izmantojam sīkdatnes
        sīkdatņu izmantošanai
        pieņemt visas sīkdatnes
        pieņemt visas
        privātuma politika
        visas tiesības aizsargātas
        visas tiesības paturētas
        spiediet šeit
        klikšķiniet šeit
        lasīt vairāk
        lasīt tālāk
        piesakies jaunumiem
        dalīties facebook
        seko mums
        aizmirsi paroli
        aizmirsāt paroli
        pievienot komentāru
        lapa nav atrasta
        pievienot grozam
        jūsu grozs ir tukšs
    """,
    "est": """
        see veebileht kasutab küpsiseid
        see sait kasutab küpsiseid
        meie veebileht kasutab küpsiseid
        kasutame küpsiseid
        küpsiste kasutamisega
        nõustun küpsistega
        nõustu kõigiga
        privaatsuspoliitika
        kõik õigused kaitstud
        kõik õigused reserveeritud
        vajuta siia
        kliki siia
        loe edasi
        loe lähemalt
        loe rohkem
        liitu uudiskirjaga
        jaga facebookis
        jälgi meid
        unustasid parooli
        lisa kommentaar
        lehte ei leitud
        lisa ostukorvi
        ostukorv on tühi
    """,
    "kat": """
        ეს საიტი იყენებს ქუქიებს
        ჩვენ ვიყენებთ ქუქიებს
        ყველა უფლება დაცულია
        დააჭირეთ აქ
        დაგავიწყდათ პაროლი
        გვერდი ვერ მოიძებნა
        კონფიდენციალურობის პოლიტიკა
    """,
    "hye": """
        այս կայքը օգտագործում է քուքիներ
        մենք օգտագործում ենք քուքիներ
        բոլոր իրավունքները պաշտպանված են
        սեղմեք այստեղ
        կարդալ ավելին
        մոռացել եք գաղտնաբառը
        էջը չի գտնվել
        գաղտնիության քաղաքականություն
    """,
    "aze": """
        bu sayt kukilərdən istifadə edir
        biz kukilərdən istifadə edirik
        bütün hüquqlar qorunur
        buraya klikləyin
        daha ətraflı
        şifrəni unutmusunuz
        səhifə tapılmadı
        məxfilik siyasəti
    """,
    "kaz": """
        бұл сайт cookie файлдарын пайдаланады
        біз cookie файлдарын пайдаланамыз
        барлық құқықтар қорғалған
        осы жерді басыңыз
        толығырақ оқу
        құпия сөзді ұмыттыңыз ба
        бет табылмады
        құпиялылық саясаты
    """,
}

PLACEHOLDERS: Final = {
    "any": """
        n/a
        null
        nil
        nan
        none
        undefined
        tbd
        todo
        fixme
        xxx
        asdf
        asdfgh
        asdfghjkl
        qwerty
        qwertyuiop
        abc
        abcd
        foo
        foo bar
        foobar
        hello world
        lorem
        lorem ipsum
        lorem ipsum dolor sit amet...
        lorem ipsum dolor
        index.html
        index.php
        default.aspx
        404
        403 forbidden
        404 not found
        404 error
        error 404
        500 internal server error
        img
        image.jpg
        image.png
        object object
        insert title here
        insert text here
        title
        document
    """,
    "eng": """
        untitled
        untitled document
        untitled page
        untitled post
        untitled article
        untitled folder
        untitled presentation
        untitled design
        no title
        no name
        no description
        no description available
        no content
        no text
        not available
        not applicable
        not found
        page not found
        unknown
        unnamed
        unspecified
        title here
        title goes here
        your title here
        enter title here
        page title
        post title
        document title
        text goes here
        your text here
        sample text
        sample page
        sample title
        sample document
        example page
        example text
        dummy text
        placeholder
        placeholder text
        test
        test page
        test post
        test document
        test title
        this is a test
        testing
        just a test
        new page
        new document
        new post
        new article
        new tab
        new item
        blank
        blank page
        empty
        empty page
        home
        home page
        homepage
        main page
        start page
        front page
        landing page
        index
        welcome
        welcome to our website
        welcome to my website
        welcome to my blog
        about
        about us
        contact
        contact us
        login
        log in
        sign in
        sign up
        register
        log out
        logout
        my account
        menu
        main menu
        navigation
        search
        search results
        search results for...
        results
        sitemap
        site map
        privacy policy
        privacy
        privacy notice
        cookie policy
        cookies
        terms of use
        terms of service
        terms and conditions
        disclaimer
        legal notice
        imprint
        copyright
        all rights reserved
        error
        error page
        access denied
        forbidden
        page
        next
        next page
        previous
        previous page
        back
        read more
        more
        more info
        learn more
        see more
        show more
        view more
        click here
        here
        link
        download
        share
        print
        comments
        leave a comment
        subscribe
        newsletter
        faq
        archives
        archive
        category
        categories
        tags
        uncategorized
        gallery
        photos
        loading
        loading please wait
        please wait
        just a moment
        redirecting
        under construction
        coming soon
        attention required cloudflare
        deleted
        removed
        this page has been removed
        this page intentionally left blank
        advertisement
        sponsored
        cart
        shopping cart
        checkout
        image
        video
        photo
        description
        summary
        introduction
        table of contents
        contents
        references
        external links
        see also
    """,
    "deu": """
        ohne titel
        unbenannt
        unbenanntes dokument
        kein titel
        keine beschreibung
        keine angabe
        nicht verfügbar
        unbekannt
        nach oben
        allgemeine geschäftsbedingungen
        startseite
        hauptseite
        homepage
        willkommen
        herzlich willkommen
        willkommen auf unserer website
        über uns
        kontakt
        impressum
        datenschutz
        datenschutzerklärung
        agb
        anmelden
        anmeldung
        registrieren
        abmelden
        mein konto
        menü
        hauptmenü
        suche
        suchergebnisse
        inhalt
        inhaltsverzeichnis
        übersicht
        sitemap
        weiter
        zurück
        weiterlesen
        mehr
        mehr erfahren
        mehr lesen
        hier klicken
        seite
        neue seite
        leere seite
        neues dokument
        seite nicht gefunden
        testseite
        beispielseite
        beispieltext
        fehler
        fehler 404
        kommentare
        kategorie
        kategorien
        allgemein
        archiv
        warenkorb
        bild
        titel
        hier steht der titel
        werbung
        anzeige
        bitte warten
        wird geladen
    """,
    "fra": """
        sans titre
        sans nom
        pas de titre
        aucun titre
        document sans titre
        aucune description
        non disponible
        inconnu
        accueil
        page d accueil
        bienvenue
        bienvenue sur notre site
        à propos
        qui sommes nous
        contact
        contactez nous
        nous contacter
        connexion
        se connecter
        s inscrire
        inscription
        déconnexion
        mon compte
        menu
        menu principal
        recherche
        résultats de la recherche
        plan du site
        mentions légales
        politique de confidentialité
        conditions d utilisation
        suivant
        page suivante
        précédent
        retour
        lire la suite
        en savoir plus
        voir plus
        plus d informations
        cliquez ici
        ici
        page
        nouvelle page
        page de test
        page d exemple
        page non trouvée
        page introuvable
        erreur
        erreur 404
        commentaires
        catégorie
        catégories
        non classé
        archives
        panier
        titre
        image
        sommaire
        table des matières
        publicité
        chargement
        chargement en cours
        veuillez patienter
        en construction
    """,
    "spa": """
        sin título
        sin nombre
        documento sin título
        sin descripción
        no disponible
        desconocido
        inicio
        página de inicio
        página principal
        portada
        bienvenido
        bienvenidos
        bienvenida
        bienvenido a nuestro sitio web
        acerca de
        sobre nosotros
        quiénes somos
        contacto
        contáctenos
        contáctanos
        iniciar sesión
        acceder
        registrarse
        cerrar sesión
        mi cuenta
        menú
        menú principal
        buscar
        búsqueda
        resultados de la búsqueda
        mapa del sitio
        aviso legal
        política de privacidad
        política de cookies
        términos y condiciones
        siguiente
        página siguiente
        anterior
        volver
        leer más
        seguir leyendo
        ver más
        más información
        haga clic aquí
        haz clic aquí
        aquí
        página
        nueva página
        página de prueba
        página de ejemplo
        prueba
        página no encontrada
        error
        error 404
        comentarios
        categoría
        categorías
        sin categoría
        archivo
        carrito
        título
        imagen
        índice
        publicidad
        cargando
        en construcción
    """,
    "por": """
        sem título
        sem nome
        documento sem título
        sem descrição
        não disponível
        desconhecido
        início
        página inicial
        página principal
        bem vindo
        bem vindos
        bem vindo ao nosso site
        sobre
        sobre nós
        quem somos
        contato
        contacto
        contatos
        fale conosco
        entrar
        iniciar sessão
        cadastre se
        registar
        sair
        minha conta
        menu
        buscar
        pesquisar
        resultados da pesquisa
        mapa do site
        aviso legal
        política de privacidade
        termos de uso
        termos e condições
        próximo
        próxima página
        anterior
        voltar
        leia mais
        ler mais
        saiba mais
        ver mais
        clique aqui
        aqui
        página
        nova página
        página de teste
        página de exemplo
        teste
        página não encontrada
        erro
        erro 404
        comentários
        categoria
        categorias
        sem categoria
        arquivo
        carrinho
        título
        imagem
        índice
        publicidade
        carregando
        em construção
    """,
    "ita": """
        senza titolo
        senza nome
        documento senza titolo
        nessun titolo
        nessuna descrizione
        non disponibile
        sconosciuto
        pagina iniziale
        pagina principale
        benvenuto
        benvenuti
        benvenuti nel nostro sito
        chi siamo
        contatti
        contattaci
        accedi
        registrati
        esci
        il mio account
        menu
        cerca
        ricerca
        risultati della ricerca
        mappa del sito
        note legali
        informativa sulla privacy
        termini e condizioni
        successivo
        pagina successiva
        precedente
        indietro
        leggi tutto
        leggi di più
        continua a leggere
        scopri di più
        clicca qui
        qui
        pagina
        nuova pagina
        pagina di prova
        pagina di esempio
        prova
        pagina non trovata
        errore
        errore 404
        commenti
        categoria
        categorie
        senza categoria
        archivio
        carrello
        titolo
        immagine
        indice
        pubblicità
        caricamento in corso
        in costruzione
    """,
    "nld": """
        zonder titel
        naamloos
        naamloos document
        geen titel
        geen beschrijving
        niet beschikbaar
        onbekend
        startpagina
        hoofdpagina
        homepagina
        welkom
        welkom op onze website
        over ons
        contact
        inloggen
        aanmelden
        registreren
        uitloggen
        mijn account
        menu
        hoofdmenu
        zoeken
        zoekresultaten
        privacybeleid
        algemene voorwaarden
        volgende
        vorige
        terug
        lees meer
        lees verder
        meer informatie
        klik hier
        hier
        pagina
        nieuwe pagina
        testpagina
        voorbeeldpagina
        pagina niet gevonden
        fout
        reacties
        categorie
        categorieën
        geen categorie
        archief
        winkelwagen
        titel
        afbeelding
        inhoudsopgave
        advertentie
        laden
    """,
    "swe": """
        utan titel
        namnlös
        namnlöst dokument
        ingen titel
        ingen beskrivning
        okänd
        startsida
        startsidan
        hem
        huvudsida
        välkommen
        om oss
        kontakt
        kontakta oss
        logga in
        registrera
        logga ut
        mitt konto
        meny
        sök
        sökresultat
        integritetspolicy
        nästa
        föregående
        tillbaka
        läs mer
        klicka här
        ny sida
        testsida
        exempelsida
        sidan hittades inte
        fel
        kommentarer
        kategori
        okategoriserade
        arkiv
        varukorg
        titel
        innehåll
    """,
    "dan": """
        uden titel
        unavngivet
        unavngivet dokument
        ingen titel
        ukendt
        forside
        forsiden
        hjem
        velkommen
        om os
        kontakt
        kontakt os
        log ind
        tilmeld
        log ud
        min konto
        menu
        søg
        søgeresultater
        næste
        forrige
        tilbage
        læs mere
        klik her
        ny side
        testside
        siden blev ikke fundet
        fejl
        kommentarer
        kategori
        arkiv
        indkøbskurv
        indhold
    """,
    "nor": """
        uten tittel
        ingen tittel
        ukjent
        forside
        hjem
        hovedside
        velkommen
        om oss
        kontakt oss
        logg inn
        registrer
        logg ut
        min konto
        meny
        søk
        søkeresultater
        neste
        forrige
        tilbake
        les mer
        klikk her
        ny side
        siden ble ikke funnet
        feil
        kommentarer
        ukategorisert
        arkiv
        handlekurv
        innhold
    """,
    "fin": """
        nimetön
        nimeämätön
        ei otsikkoa
        otsikko
        tuntematon
        etusivu
        kotisivu
        pääsivu
        tervetuloa
        tietoa meistä
        yhteystiedot
        ota yhteyttä
        kirjaudu sisään
        kirjaudu
        rekisteröidy
        kirjaudu ulos
        valikko
        haku
        hakutulokset
        tietosuojaseloste
        seuraava
        edellinen
        takaisin
        lue lisää
        klikkaa tästä
        uusi sivu
        testisivu
        sivua ei löytynyt
        virhe
        kommentit
        arkisto
        ostoskori
        sisällysluettelo
    """,
    "pol": """
        bez tytułu
        bez nazwy
        dokument bez tytułu
        brak tytułu
        brak opisu
        brak
        niedostępne
        nieznany
        strona główna
        strona startowa
        witamy
        witamy na naszej stronie
        o nas
        kontakt
        zaloguj się
        logowanie
        rejestracja
        zarejestruj się
        wyloguj
        moje konto
        menu
        szukaj
        wyszukiwarka
        wyniki wyszukiwania
        mapa strony
        polityka prywatności
        regulamin
        następna
        następna strona
        poprzednia
        wstecz
        powrót
        czytaj więcej
        czytaj dalej
        więcej
        kliknij tutaj
        tutaj
        strona
        nowa strona
        strona testowa
        przykładowa strona
        strona nie została znaleziona
        nie znaleziono strony
        błąd
        błąd 404
        komentarze
        kategoria
        kategorie
        bez kategorii
        archiwum
        koszyk
        tytuł
        spis treści
        reklama
        ładowanie
        w budowie
    """,
    "ces": """
        bez názvu
        bez titulku
        nepojmenovaný dokument
        neznámý
        domů
        domovská stránka
        hlavní stránka
        hlavní strana
        úvod
        úvodní stránka
        vítejte
        vítejte na našich stránkách
        o nás
        kontakt
        kontakty
        přihlásit se
        přihlášení
        registrace
        odhlásit se
        můj účet
        hledat
        vyhledávání
        výsledky vyhledávání
        mapa stránek
        ochrana osobních údajů
        další
        předchozí
        zpět
        číst dále
        více
        více informací
        klikněte zde
        zde
        stránka
        nová stránka
        testovací stránka
        stránka nenalezena
        chyba
        komentáře
        kategorie
        nezařazené
        archiv
        košík
        obsah
        reklama
    """,
    "slk": """
        bez názvu
        neznámy
        domov
        domovská stránka
        hlavná stránka
        úvod
        vitajte
        o nás
        prihlásiť sa
        prihlásenie
        registrácia
        môj účet
        hľadať
        vyhľadávanie
        výsledky vyhľadávania
        ďalej
        späť
        čítať ďalej
        viac
        viac informácií
        kliknite sem
        nová stránka
        stránka nenájdená
        chyba
        komentáre
        nezaradené
        archív
        košík
    """,
    "hrv": """
        bez naslova
        bez naziva
        nepoznato
        naslovnica
        naslovna
        početna
        početna stranica
        početna strana
        dobrodošli
        o nama
        prijava
        prijavi se
        registracija
        odjava
        moj račun
        izbornik
        pretraga
        traži
        rezultati pretrage
        sljedeća
        prethodna
        natrag
        pročitaj više
        saznaj više
        više
        kliknite ovdje
        nova stranica
        stranica nije pronađena
        greška
        pogreška
        komentari
        nekategorizirano
        arhiva
        košarica
        sadržaj
        domov
        začetna stran
        domača stran
    """,
    "srp": """
        без наслова
        почетна
        почетна страна
        главна страна
        добродошли
        о нама
        контакт
        пријава
        претрага
        прочитај више
        страница није пронађена
        грешка
    """,
    "hun": """
        cím nélkül
        névtelen
        névtelen dokumentum
        nincs cím
        ismeretlen
        kezdőlap
        főoldal
        nyitólap
        címlap
        üdvözöljük
        üdvözlünk
        rólunk
        kapcsolat
        bejelentkezés
        belépés
        regisztráció
        kijelentkezés
        fiókom
        menü
        keresés
        keresési eredmények
        adatvédelem
        következő
        előző
        vissza
        tovább
        bővebben
        kattintson ide
        új oldal
        tesztoldal
        az oldal nem található
        hiba
        hozzászólások
        egyéb kategória
        archívum
        kosár
        tartalom
        tartalomjegyzék
    """,
    "ron": """
        fără titlu
        fără nume
        document fără titlu
        necunoscut
        acasă
        pagina principală
        pagina de start
        bine ați venit
        bun venit
        despre noi
        contact
        contactați ne
        autentificare
        conectare
        înregistrare
        contul meu
        meniu
        căutare
        rezultatele căutării
        politica de confidențialitate
        termeni și condiții
        următoarea
        înapoi
        citește mai mult
        mai mult
        află mai multe
        click aici
        aici
        pagină nouă
        pagina nu a fost găsită
        eroare
        comentarii
        fără categorie
        arhivă
        coș
        cuprins
    """,
    "bul": """
        без заглавие
        без име
        неизвестен
        начало
        начална страница
        главна страница
        добре дошли
        за нас
        контакти
        контакт
        вход
        регистрация
        изход
        моят профил
        меню
        търсене
        резултати от търсенето
        следваща
        предишна
        назад
        прочети още
        прочетете повече
        още
        тук
        нова страница
        страницата не е намерена
        грешка
        коментари
        некатегоризирани
        архив
        количка
        съдържание
    """,
    "rus": """
        без названия
        без имени
        без заголовка
        без темы
        документ без названия
        нет названия
        нет описания
        нет данных
        описание отсутствует
        не указано
        неизвестно
        главная
        главная страница
        домашняя страница
        на главную
        начало
        добро пожаловать
        добро пожаловать на наш сайт
        о нас
        о компании
        о сайте
        контакты
        обратная связь
        вход
        войти
        авторизация
        регистрация
        зарегистрироваться
        выход
        выйти
        личный кабинет
        меню
        поиск
        результаты поиска
        карта сайта
        политика конфиденциальности
        пользовательское соглашение
        далее
        следующая
        предыдущая
        назад
        читать далее
        читать полностью
        подробнее
        подробности
        ещё
        узнать больше
        нажмите здесь
        здесь
        скачать
        ссылка
        страница
        новая страница
        новый документ
        тестовая страница
        пример страницы
        тест
        проверка
        страница не найдена
        ошибка
        ошибка 404
        доступ запрещен
        комментарии
        рубрика
        без рубрики
        категории
        архив
        корзина
        заголовок
        содержание
        оглавление
        реклама
        загрузка
        подождите
        в разработке
        удалено
    """,
    "ukr": """
        без назви
        без заголовка
        без теми
        невідомо
        головна
        головна сторінка
        на головну
        ласкаво просимо
        про нас
        контакти
        вхід
        увійти
        реєстрація
        вихід
        особистий кабінет
        меню
        пошук
        результати пошуку
        мапа сайту
        політика конфіденційності
        далі
        назад
        читати далі
        докладніше
        детальніше
        тут
        нова сторінка
        сторінку не знайдено
        помилка
        коментарі
        без категорії
        архів
        кошик
        зміст
        реклама
    """,
    "ell": """
        χωρίς τίτλο
        άγνωστο
        αρχική
        αρχική σελίδα
        κεντρική σελίδα
        καλώς ήρθατε
        καλώς ορίσατε
        σχετικά με εμάς
        ποιοι είμαστε
        επικοινωνία
        σύνδεση
        εγγραφή
        αποσύνδεση
        ο λογαριασμός μου
        μενού
        αναζήτηση
        αποτελέσματα αναζήτησης
        πολιτική απορρήτου
        όροι χρήσης
        επόμενο
        προηγούμενο
        πίσω
        περισσότερα
        διαβάστε περισσότερα
        εδώ
        νέα σελίδα
        η σελίδα δεν βρέθηκε
        σφάλμα
        σχόλια
        χωρίς κατηγορία
        αρχείο
        καλάθι
        περιεχόμενα
    """,
    "tur": """
        başlıksız
        isimsiz
        adsız
        adsız belge
        bilinmiyor
        ana sayfa
        anasayfa
        hoş geldiniz
        hoşgeldiniz
        hakkımızda
        hakkında
        iletişim
        bize ulaşın
        giriş
        giriş yap
        oturum aç
        üye ol
        kayıt ol
        çıkış
        hesabım
        menü
        ara
        arama
        arama sonuçları
        site haritası
        gizlilik politikası
        kullanım koşulları
        sonraki
        sonraki sayfa
        önceki
        geri
        devamı
        devamını oku
        daha fazla
        buraya tıklayın
        sayfa
        yeni sayfa
        deneme
        örnek sayfa
        sayfa bulunamadı
        hata
        yorumlar
        kategori
        genel
        arşiv
        sepet
        sepetim
        içindekiler
        reklam
        yükleniyor
        yapım aşamasında
    """,
    "ara": """
        بدون عنوان
        بلا عنوان
        بدون اسم
        غير معروف
        غير متوفر
        لا يوجد وصف
        الرئيسية
        الصفحة الرئيسية
        الصفحه الرئيسيه
        مرحبا
        مرحبا بكم
        أهلا وسهلا
        من نحن
        عن الموقع
        اتصل بنا
        تواصل معنا
        تسجيل الدخول
        تسجيل
        إنشاء حساب
        تسجيل الخروج
        حسابي
        القائمة
        بحث
        نتائج البحث
        خريطة الموقع
        سياسة الخصوصية
        شروط الاستخدام
        التالي
        السابق
        رجوع
        العودة
        المزيد
        اقرأ المزيد
        اضغط هنا
        هنا
        صفحة
        صفحة جديدة
        تجربة
        صفحة غير موجودة
        الصفحة غير موجودة
        خطأ
        التعليقات
        غير مصنف
        الأرشيف
        سلة التسوق
        الفهرس
        المحتويات
        إعلان
        جاري التحميل
    """,
    "fas": """
        بدون عنوان
        بدون نام
        نامشخص
        صفحه اصلی
        صفحه نخست
        خانه
        خوش آمدید
        درباره ما
        تماس با ما
        ورود
        ثبت نام
        خروج
        حساب کاربری
        حساب کاربری من
        منو
        جستجو
        نتایج جستجو
        نقشه سایت
        حریم خصوصی
        قوانین و مقررات
        بعدی
        قبلی
        بازگشت
        ادامه مطلب
        بیشتر
        اینجا کلیک کنید
        اینجا
        صفحه جدید
        صفحه یافت نشد
        خطا
        دیدگاه ها
        دسته بندی نشده
        آرشیو
        سبد خرید
        فهرست مطالب
    """,
    "heb": """
        ללא כותרת
        ללא שם
        לא ידוע
        דף הבית
        עמוד הבית
        עמוד ראשי
        ברוכים הבאים
        אודות
        אודותינו
        צור קשר
        צרו קשר
        התחברות
        כניסה
        הרשמה
        תפריט
        חיפוש
        תוצאות חיפוש
        מפת האתר
        מדיניות פרטיות
        תנאי שימוש
        הבא
        הקודם
        חזרה
        קרא עוד
        עוד
        לחץ כאן
        דף חדש
        הדף לא נמצא
        שגיאה
        תגובות
        כללי
        ארכיון
        סל קניות
        תוכן עניינים
    """,
    "hin": """
        शीर्षकहीन
        बिना शीर्षक
        अज्ञात
        होम
        होम पेज
        मुखपृष्ठ
        मुख्य पृष्ठ
        स्वागत है
        आपका स्वागत है
        हमारे बारे में
        संपर्क
        संपर्क करें
        लॉग इन
        लॉगिन
        साइन अप
        पंजीकरण
        मेनू
        खोज
        खोजें
        खोज परिणाम
        गोपनीयता नीति
        नियम और शर्तें
        अगला
        पिछला
        वापस
        और पढ़ें
        अधिक जानकारी
        यहाँ क्लिक करें
        नया पृष्ठ
        पृष्ठ नहीं मिला
        त्रुटि
        टिप्पणियाँ
        विषय सूची
    """,
    "ben": """
        শিরোনামহীন
        প্রধান পাতা
        হোম
        মূলপাতা
        স্বাগতম
        আমাদের সম্পর্কে
        যোগাযোগ
        লগইন
        লগ ইন
        নিবন্ধন
        মেনু
        অনুসন্ধান
        গোপনীয়তা নীতি
        আরও পড়ুন
        এখানে ক্লিক করুন
        নতুন পাতা
        পাতা পাওয়া যায়নি
        ত্রুটি
        মন্তব্য
    """,
    "tam": """
        தலைப்பு இல்லை
        முகப்பு
        முதற் பக்கம்
        எங்களை பற்றி
        தொடர்பு
        உள்நுழை
        தேடல்
        மேலும்
        பிழை
    """,
    "tha": """
        ไม่มีชื่อ
        ไม่มีชื่อเรื่อง
        ไม่ทราบ
        หน้าแรก
        หน้าหลัก
        ยินดีต้อนรับ
        เกี่ยวกับเรา
        ติดต่อเรา
        เข้าสู่ระบบ
        สมัครสมาชิก
        ออกจากระบบ
        บัญชีของฉัน
        เมนู
        ค้นหา
        ผลการค้นหา
        แผนผังเว็บไซต์
        นโยบายความเป็นส่วนตัว
        ถัดไป
        ก่อนหน้า
        ย้อนกลับ
        อ่านเพิ่มเติม
        อ่านต่อ
        ดูเพิ่มเติม
        คลิกที่นี่
        ที่นี่
        หน้าใหม่
        ทดสอบ
        ไม่พบหน้า
        ข้อผิดพลาด
        ความคิดเห็น
        ไม่มีหมวดหมู่
        ตะกร้าสินค้า
        สารบัญ
    """,
    "vie": """
        không có tiêu đề
        không tiêu đề
        chưa có tiêu đề
        không xác định
        trang chủ
        trang chính
        chào mừng
        giới thiệu
        về chúng tôi
        liên hệ
        đăng nhập
        đăng ký
        đăng xuất
        tài khoản
        tài khoản của tôi
        tìm kiếm
        kết quả tìm kiếm
        sơ đồ trang
        chính sách bảo mật
        điều khoản sử dụng
        tiếp theo
        trang sau
        trang trước
        quay lại
        trở lại
        đọc thêm
        xem thêm
        xem chi tiết
        nhấn vào đây
        tại đây
        trang mới
        bài viết mới
        thử nghiệm
        không tìm thấy trang
        lỗi
        bình luận
        chuyên mục
        chưa được phân loại
        giỏ hàng
        mục lục
        quảng cáo
    """,
    "ind": """
        tanpa judul
        tidak ada judul
        tidak diketahui
        beranda
        halaman utama
        laman utama
        selamat datang
        selamat datang di website kami
        tentang kami
        hubungi kami
        kontak
        masuk
        daftar
        keluar
        akun saya
        cari
        pencarian
        hasil pencarian
        peta situs
        kebijakan privasi
        syarat dan ketentuan
        selanjutnya
        berikutnya
        sebelumnya
        kembali
        baca selengkapnya
        selengkapnya
        lebih lanjut
        klik di sini
        di sini
        halaman baru
        halaman tidak ditemukan
        kesalahan
        komentar
        kategori
        tak berkategori
        arsip
        keranjang
        daftar isi
        iklan
    """,
    "swa": """
        bila jina
        mwanzo
        ukurasa wa mwanzo
        karibu
        kuhusu sisi
        wasiliana nasi
        ingia
        tafuta
        soma zaidi
        bonyeza hapa
    """,
    "jpn": """
        無題
        無題のドキュメント
        無題ドキュメント
        タイトルなし
        タイトル未設定
        名称未設定
        名前なし
        不明
        該当なし
        なし
        未定
        ホーム
        ホームページ
        トップ
        トップページ
        メインページ
        表紙
        ようこそ
        当サイトについて
        会社概要
        会社案内
        お問い合わせ
        お問合せ
        ログイン
        新規登録
        会員登録
        ログアウト
        マイページ
        メニュー
        検索
        検索結果
        サイトマップ
        プライバシーポリシー
        個人情報保護方針
        利用規約
        特定商取引法に基づく表記
        次へ
        次のページ
        前へ
        前のページ
        戻る
        続きを読む
        もっと見る
        詳細
        詳細を見る
        詳しくはこちら
        こちら
        ここをクリック
        クリック
        ページ
        新しいページ
        新規ページ
        テスト
        テストページ
        サンプル
        サンプルページ
        サンプルテキスト
        ページが見つかりません
        エラー
        404エラー
        コメント
        カテゴリー
        未分類
        アーカイブ
        カート
        買い物かご
        画像
        タイトル
        目次
        広告
        読み込み中
        工事中
        準備中
        よくある質問
        お知らせ
        新着情報
    """,
    "kor": """
        제목 없음
        제목없음
        무제
        이름 없음
        알 수 없음
        없음
        해당 없음
        홈
        홈페이지
        메인
        메인 페이지
        메인페이지
        대문
        환영합니다
        어서 오세요
        소개
        회사 소개
        회사소개
        문의
        문의하기
        연락처
        로그인
        회원가입
        로그아웃
        마이페이지
        메뉴
        검색
        검색 결과
        검색결과
        사이트맵
        개인정보처리방침
        개인정보 처리방침
        이용약관
        다음
        다음 페이지
        이전
        이전 페이지
        뒤로
        더보기
        더 보기
        자세히 보기
        자세히
        여기를 클릭하세요
        여기
        페이지
        새 페이지
        새 문서
        테스트
        테스트 페이지
        샘플
        예시
        페이지를 찾을 수 없습니다
        오류
        에러
        댓글
        카테고리
        미분류
        장바구니
        이미지
        목차
        광고
        로딩 중
        준비중
        준비 중입니다
    """,
    "zho": """
        无标题
        无标题文档
        未命名
        未命名文档
        无题
        暂无
        暂无标题
        暂无描述
        暂无简介
        暂无内容
        暂无数据
        没有标题
        未知
        无
        待定
        首页
        主页
        网站首页
        扉页
        欢迎
        欢迎光临
        欢迎访问
        欢迎来到我的博客
        关于
        关于我们
        关于本站
        联系我们
        联系方式
        登录
        登陆
        注册
        登录注册
        用户登录
        退出
        我的账户
        个人中心
        菜单
        导航
        搜索
        搜索结果
        站内搜索
        网站地图
        隐私政策
        服务条款
        用户协议
        发表评论
        留下评论
        免责声明
        版权声明
        下一页
        下一篇
        上一页
        上一篇
        返回
        返回首页
        更多
        查看更多
        阅读更多
        阅读全文
        了解更多
        查看详情
        详情
        点击这里
        点击此处
        点击查看
        这里
        下载
        链接
        页面
        新页面
        新建页面
        新建文档
        测试
        测试页面
        测试标题
        这是一个测试
        示例
        示例页面
        示例文本
        页面不存在
        页面未找到
        找不到页面
        错误
        评论
        分类
        未分类
        标签
        归档
        存档
        购物车
        图片
        标题
        目录
        广告
        加载中
        正在加载
        请稍候
        建设中
        已删除
        如题
        無標題
        無標題文件
        未命名文件
        無題
        暫無
        首頁
        主頁
        網站首頁
        歡迎
        歡迎光臨
        關於
        關於我們
        聯絡我們
        聯繫我們
        登入
        註冊
        登出
        選單
        導覽
        搜尋
        搜尋結果
        網站地圖
        隱私權政策
        隱私政策
        服務條款
        使用條款
        下一頁
        上一頁
        看更多
        閱讀更多
        繼續閱讀
        瞭解更多
        點擊這裡
        下載
        頁面
        新頁面
        測試
        測試頁面
        範例頁面
        頁面不存在
        找不到頁面
        錯誤
        留言
        分類
        未分類
        標籤
        購物車
        圖片
        標題
        目錄
        廣告
        載入中
        已刪除
    """,
    "cat": """
        sense títol
        inici
        pàgina principal
        portada
        benvinguts
        qui som
        contacte
        inicia la sessió
        cerca
        resultats de la cerca
        llegir més
        no s ha trobat la pàgina
        comentaris
    """,
    "lit": """
        be pavadinimo
        pradžia
        pagrindinis puslapis
        titulinis puslapis
        apie mus
        kontaktai
        prisijungti
        registruotis
        paieška
        skaityti daugiau
        puslapis nerastas
    """,
    "lav": """
        bez nosaukuma
        sākums
        sākumlapa
        galvenā lapa
        par mums
        kontakti
        ienākt
        reģistrēties
        meklēt
        lasīt vairāk
        lapa nav atrasta
    """,
    "est": """
        pealkirjata
        nimetu
        avaleht
        esileht
        meist
        kontakt
        logi sisse
        registreeru
        otsing
        loe edasi
        lehte ei leitud
    """,
}


def phrases_of(lists: dict[str, str]) -> list[str]:
    """All phrases of all languages, in the order they are written."""
    return [line.strip() for text in lists.values() for line in text.splitlines() if line.strip()]
