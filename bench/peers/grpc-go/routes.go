package main

import (
	"fmt"
	"strings"
)

// route is one route as the server uses it.
type route struct {
	id       string
	methods  []string
	granting map[string]struct{}
	// owner is the index of the path's parameter that names a resource; -1 for none.
	owner int
}

// node is one segment of the path templates of a host: what comes next by name, any one segment, or all the rest.
type node struct {
	static map[string]*node
	param  *node
	rest   []*route
	ends   []*route
}

// table holds a tree for each host, and one for all others.
type table struct {
	hosts map[string]*node
	any   *node
}

const maxParams = 8

func newTable(j *job) (*table, error) {
	t := &table{hosts: map[string]*node{}, any: &node{}}
	for _, spec := range j.Routes {
		root := t.any
		if spec.Host != "" {
			if root = t.hosts[spec.Host]; root == nil {
				root = &node{}
				t.hosts[spec.Host] = root
			}
		}
		if err := root.add(spec, holders(j.Roles, spec.Roles)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (n *node) add(spec routeSpec, granting map[string]struct{}) error {
	methods := spec.Methods
	if len(methods) == 0 {
		methods = []string{"GET"}
	}
	r := &route{id: spec.ID, methods: methods, granting: granting, owner: -1}
	params := 0
	for segment := range strings.SplitSeq(strings.TrimPrefix(spec.Path, "/"), "/") {
		switch {
		case segment == "**":
			n.rest = append(n.rest, r)
			return nil
		case strings.HasPrefix(segment, "{"):
			if strings.Trim(segment, "{}") == spec.Owner {
				r.owner = params
			}
			if params++; params > maxParams {
				return fmt.Errorf("route %s has more than %d parameters", spec.ID, maxParams)
			}
			if n.param == nil {
				n.param = &node{}
			}
			n = n.param
		default:
			if n.static == nil {
				n.static = map[string]*node{}
			}
			if n.static[segment] == nil {
				n.static[segment] = &node{}
			}
			n = n.static[segment]
		}
	}
	n.ends = append(n.ends, r)
	return nil
}

// match finds the route of a request, and what stands in its parameters. The path has no query.
func (t *table) match(method, host, path string) (*route, [maxParams]string) {
	var params [maxParams]string
	root := t.hosts[hostname(host)]
	if root == nil {
		root = t.any
	}
	for _, r := range root.find(strings.TrimPrefix(path, "/"), &params, 0) {
		for _, listed := range r.methods {
			if listed == method {
				return r, params
			}
		}
	}
	return nil, params
}

// find goes down by the next segment: by name before a parameter before the rest.
func (n *node) find(path string, params *[maxParams]string, count int) []*route {
	segment, left, more := strings.Cut(path, "/")
	if next := n.static[segment]; next != nil {
		if found := next.after(left, more, params, count); found != nil {
			return found
		}
	}
	if n.param != nil && segment != "" {
		params[count] = segment
		if found := n.param.after(left, more, params, count+1); found != nil {
			return found
		}
	}
	return n.rest
}

func (n *node) after(left string, more bool, params *[maxParams]string, count int) []*route {
	if more {
		return n.find(left, params, count)
	}
	if n.ends != nil {
		return n.ends
	}
	return n.rest
}

// hostname is the host without its port, in lower case.
func hostname(host string) string {
	if colon := strings.LastIndexByte(host, ':'); colon >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:colon]
	}
	return strings.ToLower(host)
}

// plain tells whether a path can be read in one way only; what is encoded is not decoded here, but refused.
func plain(path string) bool {
	if !strings.HasPrefix(path, "/") || len(path) > 8192 {
		return false
	}
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c <= ' ' || c == 0x7f || c == '%' || c == '\\' || c == ';' || c == '#':
			return false
		case c == '/' && i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.'):
			return false
		}
	}
	return true
}
