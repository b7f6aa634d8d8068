import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type EnvoyFileName, envoyText } from '../support/envoy-document.ts'

/** A file that is one of envoy/ but for names and places, so that what is tested there holds here. */
export interface DerivedFile {
  /** In the checkout. */
  readonly path: string
  readonly from: EnvoyFileName
  /** Text to replace, which must occur. */
  readonly replacements: readonly (readonly [from: string, to: string])[]
  /** What stands above it, in place of the original's head. */
  readonly head: string
}

type Names = Readonly<
  Record<
    'issuer' | 'audience' | 'jwks' | 'jwksAddress' | 'jwksName' | 'authorities' | 'manager' | 'sandbox' | 'postern' | 'posternSni',
    string
  >
> & { readonly id: (account: string) => string; readonly router: string; readonly domain: string }

const inCluster: Names = {
  issuer: 'https://keycloak.example/realms/agentcube',
  audience: '[agentcube-router]',
  jwks: 'https://keycloak.agentcube-system.svc/realms/agentcube/protocol/openid-connect/certs',
  jwksAddress: 'address: keycloak.agentcube-system.svc, port_value: 443',
  jwksName: 'keycloak.agentcube-system.svc',
  authorities: '/etc/envoy/certs/ca.crt',
  manager: 'address: workloadmanager.agentcube-system.svc, port_value: 8080',
  sandbox: 'address: picod.agentcube-system.svc, port_value: 8080',
  postern: 'postern.agentcube-system.svc',
  posternSni: 'postern.agentcube-system.svc',
  id: (account) => `spiffe://cluster.local/ns/agentcube-system/sa/${account}`,
  router: 'agentcube-system',
  domain: 'cluster.local',
}

const value = (path: string, more = ''): string => `{{ .Values.router.${path}${more} }}`
const upstream = (name: string): string => `address: ${value(`${name}.address`)}, port_value: ${value(`${name}.port`)}`
const inChart: Names = {
  issuer: value('jwt.issuer'),
  audience: value('jwt.audiences', ' | toJson'),
  jwks: value('jwt.jwks.uri'),
  jwksAddress: `address: ${value('jwt.jwks.address')}, port_value: ${value('jwt.jwks.port')}`,
  jwksName: value('jwt.jwks.address'),
  authorities: value('jwt.jwks.ca'),
  manager: upstream('workloadmanager'),
  sandbox: upstream('sandbox'),
  postern: '{{ include "postern.host" . }}',
  posternSni: '{{ include "postern.host" . }}',
  id: (account) => `{{ include "postern.id" (list . "${account}") }}`,
  router: '{{ .Release.Namespace }}',
  domain: '{{ .Values.trustDomain }}',
}

const everywhere = (names: Names): DerivedFile['replacements'] => [
  ['issuer: https://keycloak.example/realms/default', `issuer: ${names.issuer}`],
  ['audiences: [agentcube-router]', `audiences: ${names.audience}`],
  ['https://keycloak.example/realms/default/protocol/openid-connect/certs', names.jwks],
  ['address: keycloak.example, port_value: 443', names.jwksAddress],
  ['sni: keycloak.example', `sni: ${names.jwksName}`],
  ['exact: keycloak.example', `exact: ${names.jwksName}`],
  ['/etc/ssl/certs/ca-certificates.crt', names.authorities],
  ['address: 127.0.0.1, port_value: 8081', names.manager],
  ['address: 127.0.0.1, port_value: 8082', names.sandbox],
]
const files: DerivedFile['replacements'] = [
  ['port_value: 10443', 'port_value: 10000'],
  ['/etc/envoy/certs/server.crt', '/etc/envoy/certs/tls.crt'],
  ['/etc/envoy/certs/server.key', '/etc/envoy/certs/tls.key'],
  ['/etc/envoy/certs/workloads-ca.crt', '/etc/envoy/certs/ca.crt'],
]
const overTcp = (names: Names): DerivedFile['replacements'] => [
  ['address: postern, port_value: 9191', `address: ${names.postern}, port_value: 9191`],
  ['sni: postern', `sni: ${names.posternSni}`],
]
const withFiles = (names: Names): DerivedFile['replacements'] => [
  ['/etc/envoy/certs/envoy.crt', '/etc/envoy/certs/tls.crt'],
  ['/etc/envoy/certs/envoy.key', '/etc/envoy/certs/tls.key'],
  ['spiffe://cluster.local/ns/agents/sa/postern', names.id('postern')],
]
const bySpire = (names: Names): DerivedFile['replacements'] => [
  ['spiffe://cluster.local/ns/agentcube-system/sa/router', names.id('router')],
  ['spiffe://cluster.local/ns/agentcube-system/sa/postern', names.id('postern')],
  ['cluster: agentcube-system', `cluster: ${names.router}`],
  ['name: spiffe://cluster.local\n', `name: spiffe://${names.domain}\n`],
]

const secured = { ...inCluster, manager: inCluster.manager.replace('8080', '8443'), sandbox: inCluster.sandbox.replace('8080', '8443') }
/** SPIRE issues no certificate to Keycloak. */
const withSpire = { ...secured, authorities: '/etc/envoy/authorities/keycloak.crt' }
const head = (from: string): string => `# envoy/${from} with the names of a cluster: see there for what each setting is for.\n`

const overlay = (path: string, from: EnvoyFileName, replacements: DerivedFile['replacements']): DerivedFile => ({
  path: `deploy/kubernetes/overlays/${path}/envoy.yaml`,
  from,
  replacements,
  head: head(from),
})
const template = (name: string, from: EnvoyFileName, replacements: DerivedFile['replacements']): DerivedFile => ({
  path: `deploy/helm/postern/files/envoy-${name}.yaml`,
  from,
  replacements,
  head: head(from),
})

export const derivedFiles: readonly DerivedFile[] = [
  overlay('sidecar', 'envoy.yaml', [...everywhere(inCluster), ...files]),
  overlay('shared', 'tcp-mtls.yaml', [...everywhere(inCluster), ...files, ...overTcp(inCluster), ...withFiles(inCluster)]),
  overlay('components/spire', 'spire.yaml', [...everywhere(withSpire), ...overTcp(withSpire), ...bySpire(withSpire)]),
  template('sidecar', 'envoy.yaml', [...everywhere(inChart), ...files]),
  template('shared', 'tcp-mtls.yaml', [...everywhere(inChart), ...files, ...overTcp(inChart), ...withFiles(inChart)]),
  template('spire', 'spire.yaml', [
    ...everywhere(inChart),
    ...overTcp(inChart),
    ...bySpire(inChart),
    ['spiffe://cluster.local/ns/agentcube-system/sa/workloadmanager', inChart.id('workloadmanager')],
  ]),
]

/** What a derived file is to hold. @throws where a text to replace does not occur */
export function derivedText({ from, replacements, head }: DerivedFile): string {
  let text = envoyText(from)
  // Longest first: one may be a part of another.
  for (const [old, made] of [...replacements].sort(([a], [b]) => b.length - a.length)) {
    if (!text.includes(old)) throw new Error(`envoy/${from} was expected to hold ${JSON.stringify(old)}`)
    text = text.replaceAll(old, made)
  }
  // Its head tells how to run it by hand; the marks were for whoever copies it.
  const body = text.slice(text.search(/^(?!#)\S/m))
  return `${head}${body}`
}

export const derivedPath = ({ path }: DerivedFile): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

if (import.meta.main)
  for (const file of derivedFiles) {
    const text = derivedText(file)
    let before = ''
    try {
      before = readFileSync(derivedPath(file), 'utf8')
    } catch {}
    if (before !== text) writeFileSync(derivedPath(file), text)
  }
