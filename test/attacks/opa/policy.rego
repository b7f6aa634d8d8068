# The policy of the attack corpus (test/attacks/policy.yaml) for OPA-Envoy, written as a careful author would: deny by default, paths
# and hosts refused where they could be read in two ways, tokens verified with the issuers' keys, every header of the identity set or removed.
# Beside it, as data: world.json (issuers with their keys, owners).
package attacks.authz

import data.attacks.world

http := input.attributes.request.http

headers := http.headers

prefix := "x-postern-"

# --- the path: `parsed_path` is what OPA makes of it; what could be read otherwise is refused before.
raw_path := split(http.path, "?")[0]

plain_path if {
	startswith(http.path, "/")
	count(http.path) <= 16384
	count(raw_path) <= 8192
	not regex.match(`[\x00-\x20\x7f-\x{9f}#\x{fffd}]`, http.path)
	regex.match(`^[A-Za-z0-9\-._~!$&'()*+,=:@/%]*$`, raw_path)
	not contains(raw_path, "//")
	not regex.match(`(?i)(/|%2f)(\.|%2e){1,2}(/|%2f|$)`, raw_path)
	not regex.match(`%([^0-9a-fA-F]|[0-9a-fA-F][^0-9a-fA-F]|.?$)`, raw_path)
	not regex.match(`(?i)%(5c|25|3b|[01][0-9a-f]|7f|c2%[89]|[89ab][0-9a-f](%|$))`, bad_escapes)
	not regex.match(`(?i)%2f`, without_package)
	not regex.match(`(?i)%2f.*%2f`, raw_path)
}

# Escapes that are no UTF-8 do not survive this, and then the path is not plain.
bad_escapes := regex.replace(raw_path, `(?i)%[2-7][0-9a-f]`, concat("", regex.find_n(`(?i)%(5c|25|3b|7f)`, raw_path, 1)))

# %2f stands in the name of a package and nowhere else.
without_package := regex.replace(raw_path, `(?i)^/npm/@[a-z0-9._-]+%2f[a-z0-9._-]+$`, "/npm/x")

path := input.parsed_path

trailing if endswith(raw_path, "/")

# --- the host
hostname := regex.replace(lower(http.host), `:[0-9]{1,5}$`, "")

plain_host if regex.match(`^([a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\])$`, hostname)

plain_host if http.host == ""

# --- routes: by host, then the most specific path
site := "internal" if {
	hostname == "internal.example"
} else := "tenant" if {
	endswith(hostname, ".tenants.example")
} else := "any"

route := r if {
	site == "internal"
	path == ["reports"]
	r := {"id": "reports-internal", "methods": ["GET"], "roles": ["admin"]}
} else := r if {
	site == "tenant"
	path == ["reports"]
	r := {"id": "tenant", "methods": ["GET"], "roles": ["manage"]}
} else := r if {
	site == "any"
	r := any_route
}

exact := {
	"/healthz": {"id": "health", "methods": ["GET"], "public": true},
	"/public/private": {"id": "public-private", "methods": ["GET"], "roles": ["admin"]},
	"/plain": {"id": "plain", "methods": ["GET", "POST", "HEAD"], "roles": ["invoke"], "claims": ["email", "groups"]},
	"/plain/": {"id": "plain-slash", "methods": ["GET"], "roles": ["admin"]},
	"/managed": {"id": "managed", "methods": ["GET"], "roles": ["invoke"]},
	"/reports": {"id": "reports", "methods": ["GET"], "roles": ["invoke"]},
	"/by-header": {"id": "by-header", "methods": ["GET"], "roles": ["invoke"], "owner": "header"},
	"/by-query": {"id": "by-query", "methods": ["GET"], "roles": ["invoke"], "owner": "query"},
	"/for-router": {"id": "for-router", "methods": ["GET"], "workload": "spiffe://cluster.local/ns/agents/sa/router"},
	"/users-only": {"id": "users-only", "methods": ["GET"], "roles": ["invoke"], "identity": ["users"]},
	"/conditional": {"id": "conditional", "methods": ["GET"], "condition": "beta"},
}

any_route := r if {
	http.method == "DELETE"
	raw_path == "/managed"
	r := {"id": "managed-change", "methods": ["DELETE"], "roles": ["manage"]}
} else := exact[raw_path] if {
	exact[raw_path]
} else := r if {
	path[0] == "public"
	raw_path != "/public/private/"
	r := {"id": "public", "methods": ["GET"], "public": true}
} else := r if {
	path[0] == "admin"
	r := {"id": "admin", "methods": ["GET", "POST", "DELETE"], "roles": ["admin"]}
} else := r if {
	path[0] == "files"
	path[1] == "private"
	r := {"id": "files-private", "methods": ["GET"], "roles": ["admin"]}
} else := r if {
	path[0] == "files"
	r := {"id": "files", "methods": ["GET"], "roles": ["invoke"]}
} else := r if {
	path[0] == "plain"
	path[1] == "nested"
	count(path) == 3
	not trailing
	r := {"id": "nested", "methods": ["GET"], "roles": ["invoke"]}
} else := r if {
	path[0] == "npm"
	count(path) in {2, 3}
	not trailing
	r := {"id": "npm-package", "methods": ["GET"], "roles": ["invoke"]}
} else := r if {
	count(path) == 2
	not trailing
	r := by_id[path[0]]
}

by_id := {
	"sandboxes": {"id": "sandbox", "methods": ["GET"], "roles": ["invoke"], "owner": "path", "bypass": ["admin"]},
	"sessions": {"id": "session", "methods": ["GET"], "roles": ["invoke"], "owner": "session"},
	"teams": {"id": "owned-by-team", "methods": ["GET"], "owner": "path", "team": "a"},
	"scoped": {"id": "scoped", "methods": ["GET"], "scope": concat(":", ["invoke", "sandbox", path[1]])},
}

found if {
	route
	http.method in route.methods
}

# --- who asks
authorization := headers.authorization

presented if authorization

token := substring(authorization, 7, -1) if {
	startswith(lower(authorization), "bearer ")
	regex.match(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`, substring(authorization, 7, -1))
	count(authorization) <= 8199
}

jose := io.jwt.decode(token)

header_ok if {
	# OPA 1.4 reads no key for EdDSA.
	jose[0].alg in {"RS256", "ES256"}
	not jose[0].crit
	not "b64" in object.keys(jose[0])
	not "crit" in object.keys(jose[0])
	lower(object.get(jose[0], "typ", "jwt")) in {"jwt", "at+jwt"}
}

now := time.now_ns() / 1000000000

times_ok(claims) if {
	is_number(claims.exp)
	claims.exp > now - 60
	times_optional(claims, "nbf")
	times_optional(claims, "iat")
}

times_optional(claims, name) if not claims[name]

times_optional(claims, name) if {
	is_number(claims[name])
	claims[name] <= now + 60
}

audience_ok(claims, wanted) if claims.aud == wanted

audience_ok(claims, wanted) if {
	is_array(claims.aud)
	wanted in claims.aud
}

claims_ok(claims, issuer) if {
	claims.iss == issuer.issuer
	audience_ok(claims, issuer.audience)
	times_ok(claims)
	is_string(claims.sub)
	claims.sub != ""
	count(claims.sub) <= 1024
	not "cnf" in object.keys(claims)
	not startswith(claims.sub, "here:")
	not startswith(claims.sub, "mesh:")
	not startswith(claims.sub, "workload:")
}

# Verified by Envoy; the token must be there, and be the same.
metadata := input.attributes.metadataContext.filterMetadata["envoy.filters.http.jwt_authn"]

by_users := claims if {
	claims := metadata.users
	not metadata.partners
	header_ok
	jose[1] == claims
	claims_ok(claims, world.issuers.users)
}

# Verified here.
by_here := claims if {
	not metadata.users
	not metadata.partners
	header_ok
	[valid, _, claims] := io.jwt.decode_verify(token, {
		"cert": json.marshal({"keys": [key | some key in world.issuers.here.jwks.keys; key.kty in {"RSA", "EC"}]}),
		"iss": world.issuers.here.issuer,
		"aud": world.issuers.here.audience,
	})
	valid
	claims_ok(claims, world.issuers.here)
}

peer := input.attributes.source.principal

workload := peer if {
	regex.match(`^spiffe://cluster\.local/ns/[a-zA-Z0-9._-]+/sa/[a-zA-Z0-9._-]+$`, peer)
	not regex.match(`/\.{1,2}(/|$)`, peer)
}

ingress := "spiffe://cluster.local/ns/istio-system/sa/ingress"

workload_roles := {"spiffe://cluster.local/ns/agents/sa/router": ["invoke"]}

list_of(claims, name) := [item | some item in claims[name]; is_string(item); item != ""] if is_array(claims[name])

list_of(claims, name) := [] if not is_array(claims[name])

principal := {"validator": "users", "subject": by_users.sub, "issuer": by_users.iss, "roles": list_of(by_users, "roles"), "claims": by_users} if {
	by_users
} else := {"validator": "here", "subject": concat("", ["here:", by_here.sub]), "issuer": by_here.iss, "roles": list_of(by_here, "roles"), "claims": by_here} if {
	by_here
} else := {"validator": "mesh", "subject": concat("", ["mesh:", headers["x-user-id"]]), "issuer": "urn:postern:edge-trust:mesh", "roles": edge_roles, "claims": {}} if {
	not presented
	workload == ingress
	edge_subject_ok
} else := {"validator": "workloads", "subject": concat("", ["workload:", workload]), "issuer": "spiffe://cluster.local", "roles": object.get(workload_roles, workload, []), "claims": {}} if {
	not presented
	not edge_headers
	workload
}

edge_subject_ok if {
	regex.match(`^[^,\x00-\x1f\x7f\x{fffd}]+$`, headers["x-user-id"])
	count(headers["x-user-id"]) <= 1024
}

edge_headers if {
	workload == ingress
	headers["x-user-id"]
}

edge_headers if {
	workload == ingress
	headers["x-user-id"] == ""
}

edge_roles := [role | some role in split(object.get(headers, "x-user-roles", ""), ","); role == "invoke"]

# --- what the route demands
inherits := {"invoke": ["invoke", "manage", "admin"], "manage": ["manage", "admin"], "admin": ["admin"]}

roles_ok if not route.roles

roles_ok if {
	some wanted in route.roles
	some role in principal.roles
	role in inherits[wanted]
}

scope_ok if not route.scope

scope_ok if route.scope in split(principal.claims.scope, " ")

workload_ok if not route.workload

workload_ok if route.workload == workload

identity_ok if not route.identity

identity_ok if principal.validator in route.identity

condition_ok if not route.condition

condition_ok if {
	is_array(principal.claims.groups)
	route.condition in principal.claims.groups
}

# --- ownership
labels := world.owners.labels

resource_id := path[1] if route.owner in {"path", "session"}

resource_id := headers["x-sandbox-id"] if route.owner == "header"

resource_id := input.parsed_query.id[0] if route.owner == "query"

label_of(subject) := subject if regex.match(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`, subject)

id_ok if regex.match(`^[A-Za-z0-9._~-]{1,128}$`, resource_id)

owner_ok if not route.owner

owner_ok if {
	some role in route.bypass
	role in principal.roles
	id_ok
}

owner_ok if {
	route.owner in {"path", "header"}
	id_ok
	not look_alike_id
	labels[resource_id]["agentcube.io/owner"] == label_of(principal.subject)
}

owner_ok if {
	route.owner == "query"
	object.keys(input.parsed_query) == {"id"}
	count(input.parsed_query.id) == 1
	not contains(http.path, ";")
	id_ok
	labels[resource_id]["agentcube.io/owner"] == label_of(principal.subject)
}

# No parameter at all is no resource.
owner_ok if {
	route.owner == "query"
	count(input.parsed_query) == 0
	not contains(http.path, "?")
}

owner_ok if {
	route.owner == "session"
	principal.validator == "users"
	id_ok
	json.is_valid(world.owners.documents[resource_id])
	json.unmarshal(world.owners.documents[resource_id]).ownerId == principal.claims.sub
}

look_alike_id if {
	route.owner == "header"
	some name, _ in headers
	name != "x-sandbox-id"
	replace(name, "_", "-") == "x-sandbox-id"
}

team_ok if not route.team

team_ok if labels[path[1]].team == route.team

# --- the decision
default allowed := false

allowed if {
	well_formed
	found
	route.public
}

allowed if {
	well_formed
	found
	not route.public
	identity_ok
	principal
	roles_ok
	scope_ok
	workload_ok
	condition_ok
	owner_ok
	team_ok
}

well_formed if {
	plain_path
	plain_host
	not contains(object.get(headers, "authorization", ""), ",")
	not contains(object.get(headers, "host", ""), ",")
}

encoded(text) := replace(replace(urlquery.encode(text), "+", "%20"), "%3A", ":")

identity_headers := object.union_n([
	{
		"x-postern-subject": subject_header,
		"x-postern-issuer": principal.issuer,
		"x-postern-roles": concat(",", [encoded(role) | some role in principal.roles]),
	},
	workload_header,
	{name: value |
		some claim in route.claims
		claim_value := principal.claims[claim]
		is_string(claim_value)
		name := concat("", [prefix, "claim-", claim])
		value := replace(encoded(claim_value), "%40", "@")
	},
]) if not route.public

subject_header := replace(encoded(principal.subject), "%2F", "/")

workload_header := {"x-postern-workload": workload} if workload

default workload_header := {}

default set_headers := {}

set_headers := identity_headers

alike(name) := replace(lower(name), "_", "-")

forged contains name if {
	some name, _ in headers
	startswith(alike(name), prefix)
	not set_headers[name]
}

forged contains name if {
	some name, _ in headers
	alike(name) in {"x-user-id", "x-user-roles", "x-user-email", "x-user-groups", "x-envoy-auth-failure-mode-allowed", "authorization"}
	not trusted_edge_header(name)
}

trusted_edge_header(name) if {
	workload == ingress
	not route.public
	startswith(name, "x-user-")
	not contains(name, "_")
}

fixed := {"authorization", "x-postern-owner", "x-postern-decision", "x-envoy-auth-failure-mode-allowed"}

unset := {name |
	some name in ["x-postern-subject", "x-postern-issuer", "x-postern-roles", "x-postern-workload", "x-postern-claim-email", "x-postern-claim-groups"]
	not set_headers[name]
}

result := {"allowed": true, "headers": set_headers, "request_headers_to_remove": [name | some name in (fixed | unset) | forged]} if {
	allowed
} else := {"allowed": false, "http_status": status}

status := 401 if {
	not principal
} else := 403
