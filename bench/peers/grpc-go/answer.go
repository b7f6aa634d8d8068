package main

import (
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const prefix = "x-postern-"

var (
	notAppended = wrapperspb.Bool(false)
	// Names that the upstream must never get from a client.
	removed = []string{"authorization", prefix + "owner", prefix + "workload", "x-envoy-auth-failure-mode-allowed"}
)

// finding is what a check came to.
type finding struct {
	began                       time.Time
	id, reason, route, workload string
	resource, ownerMatch        string
	audience                    string
	caller                      caller
}

func set(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		Append:       notAppended,
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// allow sets five headers, and removes what else a client could forge.
func (f *finding) allow(headers map[string]string) *authv3.CheckResponse {
	f.reason = "ok"
	roles := make([]string, 0, 8)
	for _, role := range f.caller.roles {
		roles = append(roles, role.GetStringValue())
	}
	mutations := []*corev3.HeaderValueOption{
		set(prefix+"subject", f.caller.subject),
		set(prefix+"issuer", f.caller.issuer),
		set(prefix+"roles", strings.Join(roles, ",")),
		set(prefix+"decision", f.id),
		set(prefix+"claim-email", f.caller.email),
	}
	removals := removed
	for name := range headers {
		if strings.HasPrefix(name, prefix) && !isSet(mutations, name) {
			// A copy: the list above is shared.
			removals = append(removals[:len(removals):len(removals)], name)
		}
	}
	return &authv3.CheckResponse{
		Status:          &status.Status{Code: int32(codes.OK)},
		HttpResponse:    &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{Headers: mutations, HeadersToRemove: removals}},
		DynamicMetadata: f.metadata("allow"),
	}
}

func isSet(mutations []*corev3.HeaderValueOption, name string) bool {
	for _, mutation := range mutations {
		if mutation.Header.Key == name {
			return true
		}
	}
	return false
}

func (f *finding) deny(code typev3.StatusCode, reason string) *authv3.CheckResponse {
	f.reason = reason
	grpcCode := codes.PermissionDenied
	if code == typev3.StatusCode_Unauthorized {
		grpcCode = codes.Unauthenticated
	}
	return &authv3.CheckResponse{
		Status: &status.Status{Code: int32(grpcCode)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status:  &typev3.HttpStatus{Code: code},
			Headers: []*corev3.HeaderValueOption{set("content-type", "application/problem+json"), set(prefix+"decision", f.id)},
			Body:    `{"reason":"` + reason + `","decision_id":"` + f.id + `"}`,
		}},
		DynamicMetadata: f.metadata("deny"),
	}
}

// metadata is the record for the access log.
func (f *finding) metadata(decision string) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"decision":    structpb.NewStringValue(decision),
		"enforced":    structpb.NewBoolValue(true),
		"reason":      structpb.NewStringValue(f.reason),
		"decision_id": structpb.NewStringValue(f.id),
		"route":       structpb.NewStringValue(f.route),
		"policy":      structpb.NewStringValue("bench"),
		"realm":       structpb.NewStringValue("default"),
		"subject":     structpb.NewStringValue(f.caller.subject),
		"issuer":      structpb.NewStringValue(f.caller.issuer),
		"roles":       structpb.NewListValue(&structpb.ListValue{Values: f.caller.roles}),
		"workload":    structpb.NewStringValue(f.workload),
		"resource":    structpb.NewStringValue(f.resource),
		"owner_match": structpb.NewStringValue(f.ownerMatch),
		"audience":    structpb.NewStringValue(f.audience),
		"check_us":    structpb.NewNumberValue(float64(time.Since(f.began).Microseconds())),
		"cache":       structpb.NewStringValue("hit"),
	}}
}
