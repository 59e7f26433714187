/** The page for an unknown address: show it in the person's language. */

import { fillTexts } from "./language.js";

fillTexts();
