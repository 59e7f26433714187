/** The page's texts in German. */

import { pluralOf } from "../plural.js";

const plural = pluralOf("de");
const photos = (/** @type {number} */ count) => plural(count, { one: "# Foto", other: "# Fotos" });

/** @type {import("./en.js").Texts} */
export const texts = {
  page: {
    console: "Konsole",
    openConsole: "Konsole öffnen",
    apiDocs: "Dokumentation der API",
    addPhotos: "Hinzufügen",
    signOut: "Abmelden",
    language: "Sprache",
    photosToAdd: "Fotos zum Hinzufügen",
    uploadProgress: "Fortschritt des Hochladens",
    photos: "Fotos",
    selected: "Ausgewählte Fotos",
    progress: "Fortschritt",
    uploads: "Hochladen",
    order: "Reihenfolge",
    byTaken: "Nach Aufnahmedatum",
    byAdded: "Zuletzt hinzugefügt",
    noPhotos: "Noch keine Fotos",
    dropAnywhere: "Zieh Fotos oder Ordner irgendwo auf diese Seite.",
    addFirst: "Füge die ersten Fotos von diesem Gerät hinzu.",
    choosePhotos: "Fotos auswählen",
    signIn: "Anmelden",
    howToSignIn:
      "Führe auf dem Rechner, auf dem Photolog läuft, `photolog link` aus: Der Link meldet dich an. " +
      "Oder füge hier ein Token ein, das `photolog token` ausgibt.",
    token: "Token",
    dropToAdd: "Zum Hinzufügen loslassen",
    pageNotFound: "Seite nicht gefunden",
    noPageHere: "Unter dieser Adresse gibt es keine Seite.",
    goToPhotos: "Zu deinen Fotos",
    signInFailed: "Anmeldung fehlgeschlagen",
    signInAgain: "Erneut versuchen",
  },

  connection: {
    connecting: "Verbindung wird aufgebaut…",
    live: "Live",
    late: "Keine Antwort",
    reconnecting: "Verbindung wird wiederhergestellt…",
  },
  connectionNote: {
    late:
      "Photolog antwortet gerade nicht. Du kannst ansehen, was geladen ist, und Fotos hinzufügen: " +
      "Sie werden hochgeladen, sobald es antwortet.",
    lost:
      "Die Verbindung zu Photolog ist unterbrochen. Du kannst ansehen, was geladen ist, und Fotos " +
      "hinzufügen: Sie werden hochgeladen, sobald sie wieder da ist.",
  },

  common: {
    cancel: "Abbrechen",
    close: "Schließen",
    dismiss: "Ausblenden",
    tryAgain: "Erneut versuchen",
    tryNow: "Jetzt versuchen",
    loading: "Wird geladen …",
    today: "Heute",
    yesterday: "Gestern",
  },

  announced: {
    ready: (names) => (names.length === 1 ? `${names[0]} ist fertig.` : `${photos(names.length)} sind fertig.`),
    deleted: (names) =>
      names.length === 1 ? `${names[0]} wurde gelöscht.` : `${photos(names.length)} wurden gelöscht.`,
    processedAgain: (name) => `${name} wurde erneut verarbeitet.`,
    notProcessed: (name, why) => `${name} konnte nicht verarbeitet werden: ${why}`,
    lastPhoto: "Das ist das letzte Foto.",
    firstPhoto: "Das ist das erste Foto.",
  },

  deletion: {
    question: (name) => `${name} löschen?`,
    detail: (count) =>
      plural(count, {
        one: "Das Original und alle daraus erzeugten Bilder werden gelöscht.",
        other: "Die Originale und alle daraus erzeugten Bilder werden gelöscht.",
      }) +
      " Das lässt sich nicht rückgängig machen. Der Verlauf bleibt erhalten: wer wann was getan hat, und Metadaten " +
      "wie Dateiname und Ort.",
    yes: "Löschen",
    no: "Foto behalten",
    failed: (why) => `Das Foto wurde nicht gelöscht. ${why}`,
  },

  reprocessFailed: (why) => `Die Verarbeitung konnte nicht gestartet werden. ${why}`,
  photosNotLoaded: (why) => `Die Fotos konnten nicht geladen werden. ${why}`,

  signOut: {
    question: "Jetzt abmelden?",
    detail: (count) =>
      plural(count, {
        one: "# Foto ist noch nicht hochgeladen und ginge verloren.",
        other: "# Fotos sind noch nicht hochgeladen und gingen verloren.",
      }),
    yes: "Abmelden",
    no: "Angemeldet bleiben",
    failed: (why) => `Du bist noch angemeldet. ${why}`,
    waiting: (count) =>
      plural(count, {
        one: "# Foto wurde nicht hochgeladen. Es wartet hier, bis du dich wieder anmeldest.",
        other: "# Fotos wurden nicht hochgeladen. Sie warten hier, bis du dich wieder anmeldest.",
      }),
  },

  session: {
    ended: "Deine Sitzung ist beendet.",
    signedOut: "Du hast dich abgemeldet.",
    signedOutElsewhere: "Du hast dich in einem anderen Tab abgemeldet.",
    otherTab: (name) => `Du hast dich in einem anderen Tab als ${name} angemeldet.`,
    roles: { client: "Client", operator: "Betreiber", auditor: "Prüfer" },
    own: {
      client: "",
      operator: "Diese Seite zeigt nur deine eigenen Fotos.",
      auditor: "Diese Seite zeigt nur deine eigenen Fotos, und Prüfer können keine hinzufügen.",
    },
    libraryOf: (client) => `Das ist die Bibliothek von ${client}. Du kannst sie ansehen, aber hier nicht ändern.`,
    notAllowed: (client) => `Das sind deine eigenen Fotos: Die von ${client} sehen nur Betreiber und Prüfer.`,
    allClients: "Alle Clients",
    ownLibrary: "Deine eigenen Fotos",
    noneOf: (client) => `${client} hat keine Fotos`,
    noneOfYourOwn: "Keine eigenen Fotos",
  },

  signInFailures: {
    "provider-unavailable":
      "Der Dienst, der dich anmeldet, antwortet nicht richtig. Versuch es gleich noch einmal.",
    "sign-in-expired":
      "Diese Anmeldung hat zu lange gedauert, war schon abgeschlossen oder wurde in einem anderen Browser begonnen.",
    "sign-in-refused":
      "Du wurdest nicht angemeldet: Du darfst Photolog nicht benutzen, oder die Anmeldung wurde abgebrochen.",
    "invalid-identity":
      "Photolog traut der Antwort des Dienstes nicht, der dich anmeldet. Versuch es noch einmal; wenn das nicht " +
      "hilft, wende dich an die Person, die dieses Photolog betreibt.",
    "no-provider": "Hier meldest du dich mit einem Link oder einem Token an.",
  },
  signInFailed: "Etwas hat nicht geklappt. Versuch es gleich noch einmal.",
  signIn: {
    at: (/** @type {string} */ provider) => `Mit ${provider} anmelden`,
    question: (name) => `Als ${name} anmelden?`,
    questionInstead: (now, name) => `Du bist als ${now} angemeldet. Stattdessen als ${name} anmelden?`,
    detail: (name, clientId) =>
      `Dieser Link meldet diesen Browser als ${name} an. Du siehst dann die Fotos von ${clientId}, und ` +
      `Fotos, die du hinzufügst, gehören ${clientId}. Fahre nur fort, wenn du diesen Link angefordert hast.`,
    yes: (name) => `Als ${name} anmelden`,
    stay: (now) => `Als ${now} angemeldet bleiben`,
  },

  problems: {
    unreachable: {
      message: "Photolog antwortet nicht.",
      advice: "Prüfe, ob es läuft und ob du online bist, und versuche es dann erneut.",
    },
    unexpected: {
      message: (status) => `Der Server hat einen Fehler gemeldet (${status}).`,
      advice: "Versuche es erneut.",
    },
    notSignedIn: { message: "Du bist nicht angemeldet.", advice: "Melde dich an." },
    aborted: "Das Hochladen wurde abgebrochen.",
    noToken: "Füge zuerst ein Token ein.",
    badToken: { message: "Dieses Token ist ungültig.", advice: "Erstelle ein neues Token und füge es hier ein." },
    signedOutBefore: {
      message: "Du wurdest abgemeldet, bevor die Datei hochgeladen war.",
      advice: "Melde dich wieder an.",
    },
    interrupted: {
      message: "Das Hochladen wurde jedes Mal unterbrochen.",
      advice: "Prüfe die Datei und versuche es erneut.",
    },
  },

  uploads: {
    begun: (count) => plural(count, { one: "# Foto wird hochgeladen.", other: "# Fotos werden hochgeladen." }),
    held: (count) =>
      plural(count, {
        one: "# Foto wird hochgeladen, sobald der Server wieder da ist.",
        other: "# Fotos werden hochgeladen, sobald der Server wieder da ist.",
      }),
    known: (count) =>
      plural(count, { one: "# Foto war bereits hochgeladen.", other: "# Fotos waren bereits hochgeladen." }),
    failed: (name, why) => `${name} wurde nicht hochgeladen. ${why}`,
    title: "Hochladen",
    upload: "Hochladen",
    uploading: (percent) => `Wird hochgeladen, ${percent}`,
    waitingForServer: "Hochgeladen, wartet auf den Server",
    waiting: (count) => plural(count, { one: "# weiteres wartet", other: "# weitere warten" }),
    done: (count) => plural(count, { one: "# Foto hochgeladen", other: "# Fotos hochgeladen" }),
    notYet: "Wartet aufs Hochladen",
    later: "Wird hochgeladen, sobald der Server wieder da ist.",
    notUploaded: "Nicht hochgeladen",
    alreadyUploaded: "Bereits hochgeladen",
    uploadedBefore: (count) =>
      plural(count, { one: "Dieses Foto hast du schon einmal hochgeladen.", other: "Diese Fotos hast du schon einmal hochgeladen." }),
    chooseAgain: () => "Bitte noch einmal auswählen",
    lost: (count) =>
      plural(count, {
        one: "Die Seite wurde geschlossen, bevor die Datei hochgeladen war, und für den Browser ist sie zu groß.",
        other: "Die Seite wurde geschlossen, bevor die Dateien hochgeladen waren, und für den Browser sind sie zu groß.",
      }),
    showPhoto: "Foto zeigen",
    sortedIn: "Jedes ist bei seinem Aufnahmedatum eingeordnet.",
    showThem: "Zuletzt hinzugefügte zeigen",
    dismissAll: "Alle ausblenden",
    unreadable: "Der Browser kann einen der Ordner nicht lesen. Es wurde nichts hinzugefügt.",
    totals: "Dieser Upload",
    counted: {
      received: (count) => plural(count, { one: "# empfangen", other: "# empfangen" }),
      duplicates: (count) => plural(count, { one: "# schon bekannt", other: "# schon bekannt" }),
      processing: (count) => plural(count, { one: "# in Arbeit", other: "# in Arbeit" }),
      completed: (count) => plural(count, { one: "# fertig", other: "# fertig" }),
      failed: (count) => plural(count, { one: "# fehlgeschlagen", other: "# fehlgeschlagen" }),
    },
    retryFailed: "Fehlgeschlagene wiederholen",
    lasting: "Fotos, bei denen es an der Datei selbst liegt, werden nicht wiederholt.",
    closeSession: "Upload abschließen",
    andMore: (count) => plural(count, { one: "und # weiteres", other: "und # weitere" }),
    progress: (at, all) => `${at} von ${all} wird hochgeladen`,
  },

  card: {
    damaged: "Beschädigt",
    waiting: "Wartet",
    processing: "Wird verarbeitet",
    failed: "Verarbeitung fehlgeschlagen",
    taken: (day) => `Aufgenommen: ${day}`,
    takenBy: {
      filename: (day) => `${day}, laut Dateiname`,
      lastModified: (day) => `${day}, laut Dateiänderung`,
    },
    fileDamaged: "Die Datei ist beschädigt.",
  },

  selection: {
    count: (count) => plural(count, { one: "# ausgewählt", other: "# ausgewählt" }),
    clear: "Auswahl aufheben",
    download: "Herunterladen",
    reprocess: "Neu verarbeiten",
    delete: "Löschen",
    pick: (name) => `${name} auswählen`,
    pickDay: (day) => `Alle Fotos dieses Tages auswählen: ${day}`,
    question: (count) => `${photos(count)} löschen?`,
    yes: (count) => `${photos(count)} löschen`,
    no: () => "Behalten",
    first: (count) => plural(count, { one: "das erste ausgewählt, mehr geht nicht auf einmal", other: "die ersten # ausgewählt, mehr geht nicht auf einmal" }),
    keys: {
      all: "Strg+A wählt alle Fotos aus, Entf löscht sie, Escape hebt die Auswahl auf.",
      escape: "Escape",
      delete: "Entf",
    },
  },

  batch: {
    progress: "Fortschritt",
    stop: "Anhalten",
    stopped: (count) => plural(count, { one: "Angehalten vor dem letzten Foto.", other: "Angehalten vor den letzten # Fotos." }),
    failed: (count) => plural(count, { one: "Bei # Foto ging es nicht:", other: "Bei # Fotos ging es nicht:" }),
    deleting: (done, all) => `Wird gelöscht: ${done} von ${all}`,
    deleted: (count) => plural(count, { one: "# Foto gelöscht.", other: "# Fotos gelöscht." }),
    requesting: (done, all) => `Wird gestartet: ${done} von ${all}`,
    requested: (count) => plural(count, { one: "# Foto wird neu verarbeitet.", other: "# Fotos werden neu verarbeitet." }),
    downloading: (parts) => plural(parts, { one: "Der Download hat begonnen.", other: "# Downloads haben nacheinander begonnen." }),
  },

  timeline: {
    photos,
    scrubber: "Datum",
  },

  viewer: {
    download: "Original herunterladen",
    downloadSmaller: "Kleinere Kopie herunterladen",
    information: "Informationen",
    play: "Diaschau",
    pause: "Diaschau beenden",
    more: "Mehr",
    showOnMap: "Auf einer Karte zeigen (openstreetmap.org)",
    again: "Erneut verarbeiten",
    remove: "Löschen",
    history: "Verlauf",
    previous: "Vorheriges Foto",
    next: "Nächstes Foto",
    waiting: "Wartet auf die Verarbeitung",
    failed: (why) => `Verarbeitung fehlgeschlagen: ${why}`,
    ofTheFile: "Es liegt an der Datei selbst: Eine erneute Verarbeitung würde genauso fehlschlagen.",
    originalKept: "Das Original bleibt so erhalten, wie du es hochgeladen hast.",
    damaged: "Die Datei ist beschädigt: Teile des Bildes können fehlen.",
    historyNotLoaded: (why) => `Der Verlauf konnte nicht geladen werden. ${why}`,
    notFound: "Foto nicht gefunden",
    notLoaded: "Dieses Foto konnte nicht geladen werden",
    gone: "Es wurde gelöscht, oder der Link ist falsch.",
    showAll: "Alle Fotos zeigen",
    pictureNotLoaded:
      "Das Bild konnte nicht geladen werden. Schließe das Foto und öffne es wieder, um es erneut zu versuchen.",
    noPicture: "Kein Bild vorhanden.",
    preparing: "Das Bild wird vorbereitet.",
  },

  stages: {
    label: "Schritte",
    names: {
      validation: "Prüfung",
      metadata: "Metadaten",
      thumbnails: "Vorschaubilder",
      placeholder: "Platzhalter",
      optimization: "Optimierung",
    },
    states: {
      queued: "wartet",
      completed: "fertig",
      retrying: "fehlgeschlagen, wird wiederholt",
      failed: "fehlgeschlagen",
    },
  },

  history: {
    uploaded: (size) => `Hochgeladen, ${size}`,
    requested: "Erneute Verarbeitung angefordert",
    prioritized: (priority) => `Priorität auf ${priority} geändert`,
    hurried: "Nächster Versuch vorgezogen",
    started: "Verarbeitung begonnen",
    thumbnail: (size, bytes) => `Vorschaubild ${size}, ${bytes}`,
    stageFailed: (stage, attempt, why) => `${stage} fehlgeschlagen (Versuch ${attempt}): ${why}`,
    nextAttempt: (time) => `Nächster Versuch um ${time}.`,
    completed: "Verarbeitung abgeschlossen",
    failed: (why) => `Verarbeitung fehlgeschlagen: ${why}`,
    discarded: (why) => `Fehler verworfen: ${why}`,
    superseded: "Ältere Bilder ersetzt",
    removed: "Ältere Bilder entfernt",
    restored: {
      missing: "Original wiederhergestellt: Es fehlte",
      altered: "Original wiederhergestellt: Es war verändert",
    },
    described: "Beschreibung geändert",
    deleted: "Gelöscht",
    erased: "Dateien entfernt",
    damaged: (why) => `beschädigt: ${why}`,
    partsMissing: "Teile fehlen",
    noCamera: "keine Angaben zur Kamera",
  },

  details: {
    title: "Titel",
    caption: "Bildunterschrift",
    taken: "Aufgenommen",
    camera: "Kamera",
    lens: "Objektiv",
    exposure: "Belichtung",
    mode: "Modus",
    size: "Größe",
    colour: "Farbe",
    raw: "RAW",
    motion: "Bewegtbild",
    place: "Ort",
    keywords: "Stichwörter",
    rating: "Bewertung",
    creator: "Urheber",
    copyright: "Copyright",
    software: "Software",
    file: "Datei",
    uploaded: "Hochgeladen",
    sha256: "SHA-256",
  },

  facts: {
    megapixels: (count) => `${count} Megapixel`,
    sources: { filename: "laut Dateiname", lastModified: "laut letzter Änderung der Datei" },
    video: "Video",
    bits: (count) => `${count}\u00a0Bit`,
    gainMap: "HDR-Gainmap",
    developed: "entwickelt",
    preview: "eingebettete Vorschau",
    north: "N",
    south: "S",
    east: "O",
    west: "W",
    aboveSea: (metres) => `${metres}\u00a0m über dem Meeresspiegel`,
    belowSea: (metres) => `${metres}\u00a0m unter dem Meeresspiegel`,
    facing: (degrees) => `Blickrichtung ${degrees}°`,
    metering: (mode) => mode,
    flash: "Blitz",
    noFlash: "kein Blitz",
    manualWhiteBalance: "manueller Weißabgleich",
    programs: {
      manual: "manuell",
      "normal program": "Programmautomatik",
      "aperture priority": "Zeitautomatik",
      "shutter priority": "Blendenautomatik",
      "creative program": "Kreativprogramm",
      "action program": "Sportprogramm",
      "portrait mode": "Porträtprogramm",
      "landscape mode": "Landschaftsprogramm",
    },
    meteringModes: {
      average: "Integralmessung",
      "centre-weighted average": "mittenbetonte Messung",
      spot: "Spotmessung",
      "multi-spot": "Mehrfeld-Spotmessung",
      pattern: "Mehrfeldmessung",
      partial: "Selektivmessung",
    },
  },

  failures: {
    "not-an-image": "Die Datei ist kein Bild, das Photolog kennt.",
    "unreadable-image": "Aus der Datei lässt sich kein Bild lesen.",
    "unsupported-jpeg": "Diese Art von JPEG kann Photolog nicht lesen.",
    "layout-not-supported": "Diese Art von Datei kann Photolog nicht lesen.",
    "raw-without-preview": "Die Rohdatei enthält keine Vorschau.",
    "too-many-pixels": "Das Bild hat zu viele Pixel.",
    "too-many-frames": "Die Datei enthält zu viele Bilder.",
    "too-many-parts": "Das Bild besteht aus zu vielen Teilen.",
    "too-many-scans": "Das Bild besteht aus zu vielen Durchgängen.",
    "heic-not-supported": "Dieses Photolog kann HEIC nicht lesen.",
    "jxl-not-supported": "Dieses Photolog kann JPEG XL nicht lesen.",
    "decode-timeout": "Das Lesen des Bildes hat zu lange gedauert.",
    "out-of-memory": "Für das Bild reicht der Arbeitsspeicher nicht.",
    "needs-too-much-memory": "Für das Bild reicht der Arbeitsspeicher nicht.",
    "memory-limit": "Für das Bild reicht der Arbeitsspeicher nicht.",
    "blob-missing": "Das Original fehlt im Speicher.",
    "blob-damaged": "Das Original im Speicher ist beschädigt.",
  },

  serverProblems: {
    "job-running": { message: "Dieses Foto wird noch verarbeitet.", advice: "Warte, bis es fertig ist." },
    "photo-not-found": { message: "Dieses Foto gibt es nicht.", advice: "" },
    "photo-deleted": { message: "Dieses Foto wurde gelöscht.", advice: "Lade es noch einmal hoch." },
    forbidden: { message: "Das darfst du nicht.", advice: "Bitte den Betreiber um Erlaubnis." },
    "rate-limited": { message: "Das waren zu viele Anfragen in kurzer Zeit.", advice: "Warte etwas." },
    "storage-full": { message: "Der Speicher ist voll.", advice: "Sag dem Betreiber Bescheid." },
    "log-unavailable": { message: "Photolog ist gerade nicht bereit.", advice: "Versuche es gleich noch einmal." },
    "storage-unavailable": { message: "Der Speicher antwortet nicht.", advice: "Versuche es gleich noch einmal." },
    "upload-too-large": {
      message: "Die Datei ist zu groß.",
      advice: "Wähle eine kleinere Datei.",
    },
    "quota-photos": {
      message: "Die erlaubte Anzahl an Fotos ist erreicht.",
      advice: "Lösche Fotos, oder bitte den Betreiber um mehr Platz.",
    },
    "quota-bytes": {
      message: "Der erlaubte Speicherplatz ist belegt.",
      advice: "Lösche Fotos, oder bitte den Betreiber um mehr Platz.",
    },
  },
};
