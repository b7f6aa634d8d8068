// Reads a job file as Nomad's command line does, and the configuration of each task as its docker driver does; prints the job as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/drivers/docker"
	"github.com/hashicorp/nomad/helper/pluginutils/hclspecutils"
	"github.com/hashicorp/nomad/helper/pluginutils/hclutils"
	"github.com/hashicorp/nomad/jobspec2"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] == "--help" {
		fmt.Println("usage: nomad-jobspec FILE [NAME=VALUE …]")
		return
	}
	body, err := os.ReadFile(os.Args[1])
	fail(err)
	job, err := jobspec2.ParseWithConfig(&jobspec2.ParseConfig{Path: os.Args[1], Body: body, ArgVars: os.Args[2:], Strict: true})
	fail(err)
	schema, err := docker.NewDockerDriver(context.Background(), hclog.NewNullLogger()).TaskConfigSchema()
	fail(err)
	spec, diagnostics := hclspecutils.Convert(schema)
	if diagnostics.HasErrors() {
		fail(diagnostics)
	}
	for _, group := range job.TaskGroups {
		for _, task := range group.Tasks {
			if task.Driver != "docker" {
				fail(fmt.Errorf("task %s: another driver than docker", task.Name))
			}
			_, diagnostics, others := hclutils.ParseHclInterface(task.Config, spec, nil)
			if diagnostics.HasErrors() {
				fail(fmt.Errorf("task %s: %w", task.Name, diagnostics))
			}
			if len(others) > 0 {
				fail(fmt.Errorf("task %s: %v", task.Name, others))
			}
		}
	}
	job.Canonicalize()
	fail(json.NewEncoder(os.Stdout).Encode(job))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
