package main

import (
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

const jwtFilter = "envoy.filters.http.jwt_authn"

// caller is who the verified token speaks of.
type caller struct {
	issuer, subject, email string
	roles                  []*structpb.Value
}

// readCaller reads the payload that Envoy verified, and checks issuer, audience and time again.
func (s *server) readCaller(attributes *authv3.AttributeContext) (caller, string) {
	var c caller
	verified := attributes.GetMetadataContext().GetFilterMetadata()[jwtFilter]
	payload := verified.GetFields()[s.metadataKey].GetStructValue().GetFields()
	if payload == nil {
		return c, "no_credential"
	}
	c.issuer = payload["iss"].GetStringValue()
	c.subject = payload["sub"].GetStringValue()
	c.email = payload["email"].GetStringValue()
	c.roles = payload["realm_access"].GetStructValue().GetFields()["roles"].GetListValue().GetValues()
	if c.issuer != s.issuer || c.subject == "" || !hasAudience(payload["aud"], s.audience) {
		return c, "invalid_credential"
	}
	now := float64(time.Now().Unix())
	if expires := payload["exp"].GetNumberValue(); expires+skew <= now {
		return c, "expired_credential"
	}
	if payload["iat"].GetNumberValue() > now+skew || payload["nbf"].GetNumberValue() > now+skew {
		return c, "invalid_credential"
	}
	return c, ""
}

// Seconds by which clocks may differ.
const skew = 60

func hasAudience(value *structpb.Value, wanted string) bool {
	if value.GetStringValue() == wanted {
		return true
	}
	for _, one := range value.GetListValue().GetValues() {
		if one.GetStringValue() == wanted {
			return true
		}
	}
	return false
}

func (c *caller) hasOneOf(granting map[string]struct{}) bool {
	for _, role := range c.roles {
		if _, grants := granting[role.GetStringValue()]; grants {
			return true
		}
	}
	return false
}
