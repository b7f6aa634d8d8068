// Etcd is what the Kubernetes API server stores in: the published server, unchanged. Its own main package cannot be built from
// the module alone.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
