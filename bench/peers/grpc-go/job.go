package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// job is the file that says what the server is to do: bench/peers/job.ts writes it from the policy that Postern is measured with.
type job struct {
	Issuer      string              `json:"issuer"`
	Audience    string              `json:"audience"`
	MetadataKey string              `json:"metadata_key"`
	Roles       map[string]roleSpec `json:"roles"`
	Routes      []routeSpec         `json:"routes"`
	Owners      map[string]string   `json:"owners"`
}

type roleSpec struct {
	Inherits []string `json:"inherits"`
}

type routeSpec struct {
	ID      string   `json:"id"`
	Methods []string `json:"methods"`
	Host    string   `json:"host"`
	Path    string   `json:"path"`
	Roles   []string `json:"roles"`
	// Owner names the path's parameter that holds the id of a resource; "" where there is none to own.
	Owner string `json:"owner"`
}

func readJob(file string) (*job, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &j, nil
}

// holders gives the roles that grant one of the wanted ones: each itself, and all that inherit it.
func holders(roles map[string]roleSpec, wanted []string) map[string]struct{} {
	granting := map[string]struct{}{}
	for _, role := range wanted {
		granting[role] = struct{}{}
	}
	for grown := true; grown; {
		grown = false
		for name, spec := range roles {
			if _, has := granting[name]; has {
				continue
			}
			for _, parent := range spec.Inherits {
				if _, grants := granting[parent]; grants {
					granting[name] = struct{}{}
					grown = true
				}
			}
		}
	}
	return granting
}
