// Makes the replica set and the user of the case worker.  May run any number of times.
//
//   mongosh --nodb --file init.js
//
// MONGO_HOST    host:port of the first member, as all members and clients reach it (mongo:27017)
// MONGO_SECRETS folder with the files mongo_root and store_password (/run/secrets)
const fs = require("fs");
const host = process.env.MONGO_HOST || "mongo:27017";
const secrets = process.env.MONGO_SECRETS || "/run/secrets";
const secret = name => fs.readFileSync(`${secrets}/${name}`, "utf8").trim();

function patiently(what, attempt) {
    for (let left = 60; ; left--) {
        try {
            return attempt();
        } catch (e) {
            if (left === 0) throw e;
            print(`${what}: ${e.message}; again in 2 s`);
            sleep(2000);
        }
    }
}

// Passwords go through here and not through arguments, which any process could read.  Until the image
// has made its root user the server listens on its own localhost only, so this waits for both.
const admin = patiently("the server", () => {
    const db = new Mongo(`mongodb://${host}/?directConnection=true`).getDB("admin");
    if (!db.auth({user: "root", pwd: secret("mongo_root")}).ok) throw new Error("login refused");
    return db;
});

const status = () => {
    try {
        return admin.adminCommand({replSetGetStatus: 1});
    } catch (e) {
        return {ok: 0, codeName: e.codeName, errmsg: e.message};
    }
};
const now = status();
if (now.ok) {
    print("the replica set is there");
} else if (now.codeName === "NotYetInitialized") {
    admin.adminCommand({replSetInitiate: {_id: "rs0", members: [{_id: 0, host: host}]}});
    print("the replica set is made");
} else {
    throw new Error(now.errmsg);
}
patiently("the primary", () => {
    if (!admin.adminCommand({hello: 1}).isWritablePrimary) throw new Error("not yet");
});

const store = admin.getSiblingDB("dengwen");
const what = {pwd: secret("store_password"), roles: [{role: "readWrite", db: "dengwen"}]};
if (store.getUser("dengwen")) {
    store.updateUser("dengwen", what);
    print("the user dengwen has this password");
} else {
    store.createUser({user: "dengwen", ...what});
    print("the user dengwen is made");
}
