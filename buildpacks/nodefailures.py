"""What npm, node and the usual builders print when they fail, and what to say about it. The narrow hints stand first."""

from __future__ import annotations

from buildpacks.aptnames import HEADERS, MODULES
from buildpacks.aptpackages import PUT_IT
from buildpacks.failurehint import FailureHint as Hint
from buildpacks.surroundings import NETWORK

_NPM = "npm (?:error|ERR!)"
_LOCK = "Run npm install and commit package-lock.json."
_NETWORK = "(?:ENOTFOUND|ETIMEDOUT|ECONNREFUSED|ECONNRESET|EAI_AGAIN)"

_NAMES = (
    Hint(f"{_NPM} code EUSAGE", "package-lock.json does not fit package.json", _LOCK),
    Hint(
        (f"{_NPM} code EBADENGINE", r"version of node/npm: (?P<name>\S+)", r"Required: (?P<wanted>\{.*\})"),
        "{name} does not run on this Node and npm, it requires {wanted}",
        "Set engines.node in package.json to a version that fits; npm is what the push names.",
    ),
    Hint(
        f"{_NPM} code EBADENGINE",
        "a package wants another version of Node",
        "Set engines.node in package.json to it.",
    ),
    Hint(
        (f"{_NPM} code EBADPLATFORM", r"Unsupported platform for (?P<name>\S+): wanted (?P<wanted>\{.*?\})"),
        "{name} does not run on this machine, it wants {wanted}",
        "Move it to optionalDependencies, where npm passes it over.",
    ),
    Hint(
        f"{_NPM} 404.*'(?P<name>@[^']+)'",
        "no package {name} in the registry, or it is private",
        "Check its name and version; a private one needs an .npmrc with a token from a config var.",
    ),
    Hint(
        f"{_NPM} 404.*'(?P<name>[^']+)'",
        "no package {name} in the registry",
        "Check its name and version in package.json.",
    ),
    Hint(
        rf"{_NPM} notarget No matching version found for (?P<name>\S+?)\.?$",
        "no such version in the registry: {name}",
        "Check the version in package.json.",
    ),
    Hint(
        f"{_NPM} code (?:E404|ETARGET)",
        "a package or version is not in the registry",
        "Check package.json.",
    ),
    Hint(
        (f"{_NPM} code EINVALID(?:TAGNAME|PACKAGENAME)", f"{_NPM} (?P<what>Invalid .*?):"),
        "package.json asks for what cannot be: {what}",
        "Correct the name or the version there.",
    ),
    Hint(
        (f"{_NPM} code EUNSUPPORTEDPROTOCOL", 'Unsupported URL Type "[^"]+": (?P<what>.+)'),
        "npm does not know {what}",
        "Name a version, or a folder of the repository with file:.",
    ),
    Hint(
        f"{_NPM} code EINTEGRITY",
        "a package is not the one that was locked",
        _LOCK,
    ),
    Hint(
        f"{_NPM} code ERESOLVE",
        "the dependencies contradict each other",
        "Change one of the versions named above, and commit package-lock.json.",
    ),
    Hint(
        f"{_NPM} code (?:E401|E403|ENEEDAUTH)",
        "the registry wants a login",
        "Put a token from a config var into .npmrc: //HOST/:_authToken=${{TOKEN}}",
    ),
)
_FETCHING = (
    Hint(
        rf"{_NPM} command git .*\b(?:ssh|git|https?)://(?:[^@/\s]*@)?(?P<where>\S+)",
        "the git repository {where} cannot be fetched",
        "Check its address, and that the server reaches it over https: builds have no ssh.",
    ),
    Hint(
        rf"{_NPM} network request to https?://(?:[^@/\s]*@)?(?P<host>[^/\s]+)\S* failed",
        "{host} cannot be reached",
        "Check the address in package.json or .npmrc, and the server's registry settings: paas doctor",
    ),
    Hint(
        f"{_NPM} code {_NETWORK}",
        "the npm registry could not be reached",
        "Check the server's registry settings: paas doctor",
    ),
    Hint(
        "ENOSPC|No space left on device",
        "the build ran out of disk",
        "Install less, or free disk on the server: paas doctor",
    ),
)
_LACKS = "compiling a native package needs {name} (Debian package {package}), which the stack does not have"
_SCRIPTS = (
    Hint(
        ("gyp ERR!|node-gyp rebuild", r"fatal error: (?P<name>\S+\.h(?:pp)?): No such file"),
        _LACKS,
        PUT_IT,
        HEADERS,
    ),
    Hint(
        ("gyp ERR!|node-gyp rebuild", r"No package '(?P<name>[A-Za-z0-9_.+-]+)' found"),
        _LACKS,
        PUT_IT,
        MODULES,
    ),
    Hint(
        ("gyp ERR!|node-gyp rebuild", r"fatal error: (?P<header>\S+\.h(?:pp)?): No such file"),
        "compiling a native package needs {header}, which the stack does not have",
        "Use a version with prebuilt binaries.",
    ),
    Hint("gyp ERR!", "compiling a native package failed", "Use a version with prebuilt binaries."),
    Hint(
        (
            rf"{_NPM} path \S*?/node_modules/(?P<name>(?:@[^/\s]+/)?[^/\s]+)$",
            f"{_NPM} command failed",
            rf"getaddrinfo {_NETWORK} (?P<host>[\w.-]+)",
        ),
        "the install script of {name} fetches from {host}, which cannot be reached",
        "Many such packages have a variable that leaves the download out: paas config:set VARIABLE=1",
    ),
    Hint(
        (rf"{_NPM} path \S*?/node_modules/(?P<name>(?:@[^/\s]+/)?[^/\s]+)$", f"{_NPM} command failed"),
        "the install script of {name} failed",
        "Its own words stand above.",
    ),
    Hint(
        (f"{_NPM} command failed", f"{_NPM} command sh -c (?P<command>.+)"),
        "the script '{command}' of package.json failed",
        "Its own words are above.",
    ),
)
FAILURE_HINTS = (*_NAMES, *_FETCHING, *_SCRIPTS[:-1], *NETWORK, _SCRIPTS[-1])

BUILD_HINTS = (
    Hint(
        "Failed to fetch [`'\"]?(?P<font>[^`'\"]+?)[`'\"]? from Google Fonts",
        "next/font fetches {font} from fonts.googleapis.com, which cannot be reached",
        "Commit the font and use next/font/local, or let the server reach that host.",
    ),
    Hint(
        "JavaScript heap out of memory",
        "the build script ran out of JavaScript heap",
        "Give Node more: paas config:set NODE_OPTIONS=--max-old-space-size=MIB, below builds.memory_bytes of paas.yml.",
    ),
    Hint(
        r"(?:sh: \d+: |sh: )(?P<name>[\w./-]+): (?:command )?not found",
        "command not found: {name}",
        "Add the package that brings it to devDependencies.",
    ),
    Hint("Missing script: [\"'](?P<name>[^\"']+)", "package.json has no script {name}", "Add it to scripts."),
    Hint(
        'Could not resolve "(?P<name>[^"]+)" from "(?P<where>[^"]+)"|failed to resolve import "(?P<import>[^"]+)" from "(?P<file>[^"]+)"',
        "{where}{file} imports {name}{import}, which is not there",
        "Commit the file, or add the package to package.json; upper and lower case count here.",
    ),
    Hint(
        r"Cannot find (?:module|package) '/app/(?P<path>[^']+)'",
        "{path} is not in the repository",
        "Commit it; upper and lower case count here.",
    ),
    Hint(
        r"Cannot find (?:module|package) '(?P<path>\.[^']*)'",
        "{path} is not in the repository",
        "Commit it; upper and lower case count here.",
    ),
    Hint(
        r"Cannot find (?:module|package) '(?P<name>[^']+)'",
        "the module {name} is not installed",
        "Add it to dependencies or devDependencies, and commit package-lock.json.",
    ),
    Hint(
        r"^(?P<where>\S+\(\d+,\d+\)): error (?P<what>TS\d+)",
        "TypeScript refuses {where} ({what})",
        "Correct the errors that are shown above.",
    ),
    *FAILURE_HINTS,
)
