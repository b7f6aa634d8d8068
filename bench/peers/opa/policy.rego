# The job of the other servers, as a policy for OPA-Envoy. bench/peers/opa.ts writes beside it, from the policy that Postern is
# measured with, the names `issuer`, `audience` and `metadata_key`, and one rule `candidate` for each route, in the form that OPA
# finds by its index and not one after the other; and the data: what a route demands, by its number (the most specific first), and owners by id. It is run with the store
# optimized for reading, so that no look-up copies data.
package postern.authz

import data.postern.job

http := input.attributes.request.http

path := input.parsed_path

hostname := lower(split(http.host, ":")[0])

plain if {
	startswith(http.path, "/")
	not regex.match(`[\x00-\x20\x7f%\\;#]|//|/\.`, split(http.path, "?")[0])
}

found_route := route if {
	route := job.routes[min(candidate)]
	route.methods[http.method]
}

payload := input.attributes.metadataContext.filterMetadata["envoy.filters.http.jwt_authn"][metadata_key]

now := time.now_ns() / 1000000000

identified if {
	payload.iss == issuer
	payload.sub != ""
	has_audience
	payload.exp > now - 60
	payload.iat <= now + 60
}

has_audience if payload.aud == audience

has_audience if {
	is_array(payload.aud)
	audience in payload.aud
}

roles := payload.realm_access.roles

authorized if {
	some role in roles
	found_route.granting[role]
}

resource_id := path[found_route.owner] if found_route.owner >= 0

owner_match := "none" if {
	not resource_id
} else := "yes" if {
	job.owners[resource_id] == payload.sub
} else := "no"

reason := "bad_request" if {
	not plain
} else := "no_route" if {
	not found_route
} else := "no_credential" if {
	not payload
} else := "invalid_credential" if {
	not identified
} else := "missing_role" if {
	not authorized
} else := "not_owner" if {
	owner_match == "no"
} else := "ok"

statuses := {"bad_request": 400, "no_credential": 401, "invalid_credential": 401, "no_route": 403}

decision_id := uuid.rfc4122("decision")

allow_metadata := {
	"decision": "allow",
	"enforced": true,
	"reason": "ok",
	"route": found_route.id,
	"policy": "bench",
	"realm": "default",
	"subject": payload.sub,
	"issuer": payload.iss,
	"roles": roles,
	"workload": workload,
	"resource": resource,
	"owner_match": owner_match,
	"audience": audience,
	"cache": "hit",
}

default workload := ""

workload := input.attributes.source.principal

default resource := ""

resource := concat(":", ["sandbox", resource_id])

# Of a denial, what is known.
deny_metadata := {
	"decision": "deny",
	"enforced": true,
	"reason": reason,
	"route": known_route,
	"policy": "bench",
	"realm": "default",
	"subject": known_subject,
	"workload": workload,
	"resource": resource,
	"owner_match": owner_match,
}

default known_route := ""

known_route := found_route.id

default known_subject := ""

known_subject := payload.sub

set_headers := {
	"x-postern-subject": payload.sub,
	"x-postern-issuer": payload.iss,
	"x-postern-roles": concat(",", roles),
	"x-postern-decision": decision_id,
	"x-postern-claim-email": payload.email,
}

forged := [name |
	some name, _ in http.headers
	startswith(name, "x-postern-")
	not set_headers[name]
]

result := {
	"allowed": true,
	"headers": set_headers,
	"request_headers_to_remove": array.concat(["authorization", "x-postern-owner", "x-postern-workload", "x-envoy-auth-failure-mode-allowed"], forged),
	"dynamic_metadata": allow_metadata,
} if {
	reason == "ok"
} else := {
	"allowed": false,
	"http_status": object.get(statuses, reason, 403),
	"headers": {"content-type": "application/problem+json", "x-postern-decision": decision_id},
	"body": json.marshal({"reason": reason, "decision_id": decision_id}),
	"dynamic_metadata": deny_metadata,
}
