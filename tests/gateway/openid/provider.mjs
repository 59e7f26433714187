// Run the OpenID provider `oidc-provider` with a form that accepts any password.
//
// node provider.mjs FOLDER ISSUER CONFIGURATION: FOLDER has it in node_modules. CONFIGURATION is a
// JSON file with `clients`, `keys`, and `accounts`, which is read anew for each sign-in.
import { readFileSync } from "node:fs";

const [folder, issuer, file] = process.argv.slice(2);
const { Provider } = await import(`${folder}/node_modules/oidc-provider/lib/index.js`);
const configured = () => JSON.parse(readFileSync(file, "utf8"));
const { clients, keys } = configured();

const provider = new Provider(issuer, {
  clients,
  jwks: { keys },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...configured().accounts[id] }) }),
  claims: {
    openid: ["sub"],
    profile: ["name", "preferred_username", "groups"],
    email: ["email", "email_verified"],
  },
  features: {
    backchannelLogout: { enabled: true },
    devInteractions: { enabled: true },
    rpInitiatedLogout: { enabled: true },
  },
  // Its own guard lets it post logout tokens to no application on this machine.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  pkce: { required: () => true },
  cookies: { keys: ["a key of the tests"] },
});
const { hostname, port } = new URL(issuer);
provider.listen(Number(port), hostname);
