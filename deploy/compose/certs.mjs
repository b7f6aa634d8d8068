/**
 * Makes the certificates of the tls and mtls overlays: a throw-away authority, and for each service a folder with tls.crt, tls.key (0600) and
 * ca.crt, as a Secret of Kubernetes has them. Its key is not kept: new ones are made by a new authority.
 *
 *   node deploy/compose/certs.mjs --out deploy/compose/generated/tls
 */
import { chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { issueCertificate, makeAuthority } from '../local/certificates.mjs'

const spiffe = (/** @type {string} */ name) => `spiffe://cluster.local/ns/agentcube-system/sa/${name}`

/** Who gets one: its names, and the user that its container runs as (none: that of Postern and Envoy). */
const services = {
  envoy: { dns: ['localhost', 'envoy'], uri: [spiffe('router')] },
  postern: { dns: ['postern'], uri: [spiffe('postern')] },
  workloadmanager: { dns: ['workloadmanager'], uri: [spiffe('workloadmanager')] },
  picod: { dns: ['picod'], uri: [spiffe('picod')] },
  redis: { dns: ['redis'], uri: [], user: 999 },
  keycloak: { dns: ['localhost', 'keycloak'], uri: [], user: 1000 },
  // By which the agent of the spire overlay proves itself to its server; named by its common name.
  'spire-agent': { dns: [], uri: [] },
  // A program that enters by its certificate, for trying out; its files stay with whoever ran this.
  researcher: { dns: [], uri: [spiffe('researcher')], user: null },
}

/**
 * @param {string} out folder, made if absent
 * @param {{ user?: number }} [options] that of Postern's and Envoy's containers; as root the keys are handed to it
 */
export function writeServiceCertificates(out, { user = 65532 } = {}) {
  const authority = makeAuthority('Postern compose CA')
  const root = process.getuid?.() === 0
  for (const [name, { dns, uri, ...rest }] of Object.entries(services)) {
    const ip = dns.includes('localhost') ? ['127.0.0.1'] : []
    const leaf = issueCertificate(authority, { commonName: name, dns, uri, ip })
    const folder = join(out, name)
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'ca.crt'), authority.certificate, { mode: 0o644 })
    writeFileSync(join(folder, 'tls.crt'), leaf.certificate, { mode: 0o644 })
    const owner = 'user' in rest ? rest.user : user
    // Without root a file cannot be handed to Redis's and Keycloak's users: they may read it, in a folder that no one else here may enter.
    const mode = root || !('user' in rest) || owner === null ? 0o600 : 0o644
    writeFileSync(join(folder, 'tls.key'), leaf.key, { mode })
    if (root && owner !== null) chownSync(join(folder, 'tls.key'), owner, owner)
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { out: { type: 'string' } } })
  if (values.out === undefined) {
    process.stderr.write('usage: node deploy/compose/certs.mjs --out FOLDER\n')
    process.exitCode = 2
  } else {
    mkdirSync(values.out, { recursive: true, mode: 0o700 })
    writeServiceCertificates(values.out)
  }
}
