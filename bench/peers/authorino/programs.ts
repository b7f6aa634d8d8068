/** The programs that Authorino needs, and Authorino: all built from source, since there is nothing else to be had of them. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildOwn, buildPublished } from '../build.ts'

export const version = 'v0.22.0'
const kubernetes = { minor: '37', patch: '2' }

export interface Programs {
  readonly authorino: string
  /** The folder of its CustomResourceDefinitions. */
  readonly crds: string
  readonly etcd: string
  readonly apiServer: string
}

/**
 * Builds them one after the other, or finds them: twenty minutes on two idle cores.
 * @throws PeerUnavailable where one cannot be built
 */
export async function buildPrograms(): Promise<Programs> {
  const { etcd, apiServer } = await buildKubernetes()
  const authorino = await buildPublished({
    module: 'github.com/kuadrant/authorino',
    version,
    command: '.',
    name: 'authorino',
    seconds: 309,
    niceness: 19,
    keep: ['install/crd'],
  })
  return {
    authorino: join(authorino, 'authorino'),
    crds: join(authorino, 'install/crd'),
    etcd,
    apiServer,
  }
}

/** Builds a Kubernetes API server and the etcd that it stores in, or finds them. @throws PeerUnavailable where one cannot be built */
export async function buildKubernetes(): Promise<Pick<Programs, 'etcd' | 'apiServer'>> {
  const etcd = await buildOwn(fileURLToPath(new URL('etcd/', import.meta.url)), 'bench-etcd')
  return { etcd, apiServer: join(await buildApiServer(), 'kube-apiserver') }
}

/** The module's own go.mod looks for its parts in folders that are not in the module: they are published beside it. */
async function buildApiServer(): Promise<string> {
  const { minor, patch } = kubernetes
  const set = (name: string, value: string) => `-X k8s.io/component-base/version.${name}=${value}`
  return await buildPublished({
    module: 'k8s.io/kubernetes',
    version: `v1.${minor}.${patch}`,
    command: './cmd/kube-apiserver',
    name: 'kube-apiserver',
    seconds: 620,
    niceness: 19,
    flags: ['-mod=mod', `-ldflags=-s -w ${set('gitVersion', `v1.${minor}.${patch}`)} ${set('gitMajor', '1')} ${set('gitMinor', minor)}`],
    adapt: async (source) => {
      const file = join(source, 'go.mod')
      const text = readFileSync(file, 'utf8')
      writeFileSync(file, text.replaceAll(/(k8s\.io\/\S+) => \.\/staging\/src\/k8s\.io\/\S+/g, `$1 => $1 v0.${minor}.${patch}`))
    },
  })
}
