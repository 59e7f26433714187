/** The page after a sign-in at a provider that failed: say why in the person's language. */

import { byId } from "./dom.js";
import { fillTexts, t } from "./language.js";

fillTexts();
const why = byId("why");
why.textContent = t.signInFailures[why.dataset.code ?? ""] ?? t.signInFailed;
