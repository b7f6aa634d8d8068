#!/usr/bin/env node
/**
 * Makes certificates to try TLS with: a CA, a server and a client, ECDSA on P-256. For this machine alone: the CA's key is not
 * kept, and nothing can be revoked.
 *
 *     node deploy/local/certs.mjs --out DIR [--host NAME]… [--client spiffe://…] [--days 30] [--force]
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { issueCertificate, makeAuthority } from './certificates.mjs'

const usage = `usage: node deploy/local/certs.mjs --out DIR [--host NAME]... [--client SPIFFE-ID] [--days N] [--force]
  --out     the folder to write to; made if absent
  --host    a DNS name or IP address of the server, beside localhost, 127.0.0.1 and ::1
  --client  URI of the client's certificate (spiffe://agents.local/client)
  --days    how long they are valid (30)
  --force   write over files that are there
`

/** What is written. */
export const files = { ca: 'ca.pem', cert: 'postern.pem', key: 'postern-key.pem', clientCert: 'client.pem', clientKey: 'client-key.pem' }

/**
 * Writes the five files.
 * @param {{ out: string, hosts?: readonly string[], client?: string, days?: number, force?: boolean }} options
 * @returns {Record<keyof typeof files, string>} their paths
 * @throws {Error} where a file is there already
 */
export function writeCertificates({ out, hosts = [], client = 'spiffe://agents.local/client', days = 30, force = false }) {
  const paths = /** @type {Record<keyof typeof files, string>} */ (
    Object.fromEntries(Object.entries(files).map(([name, file]) => [name, resolve(join(out, file))]))
  )
  const there = Object.values(paths).find((path) => existsSync(path))
  if (there !== undefined && !force) throw new Error(`${there} is there already: --force writes over it`)
  const authority = makeAuthority('Postern test CA', { days })
  const server = issueCertificate(authority, {
    commonName: 'postern',
    dns: ['localhost', ...hosts.filter((host) => isIP(host) === 0)],
    ip: ['127.0.0.1', '::1', ...hosts.filter((host) => isIP(host) !== 0)],
    days,
  })
  const own = issueCertificate(authority, { commonName: 'client', uri: [client], days })
  mkdirSync(out, { recursive: true })
  const write = (/** @type {string} */ path, /** @type {string} */ text, /** @type {number} */ mode) => {
    // A file that was written over would keep its mode.
    rmSync(path, { force: true })
    writeFileSync(path, text, { mode, flag: 'wx' })
  }
  write(paths.ca, authority.certificate, 0o644)
  write(paths.cert, server.certificate, 0o644)
  write(paths.key, server.key, 0o600)
  write(paths.clientCert, own.certificate, 0o644)
  write(paths.clientKey, own.key, 0o600)
  return paths
}

function main() {
  try {
    const { values } = parseArgs({
      options: {
        out: { type: 'string' },
        host: { type: 'string', multiple: true },
        client: { type: 'string' },
        days: { type: 'string' },
        force: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    })
    if (values.help || values.out === undefined) {
      process.stderr.write(usage)
      return values.help ? 0 : 2
    }
    const days = values.days === undefined ? 30 : Number(values.days)
    if (!Number.isInteger(days) || days < 1) throw new Error(`--days ${values.days}: expected a whole number of days`)
    const paths = writeCertificates({
      out: values.out,
      hosts: values.host ?? [],
      days,
      force: values.force ?? false,
      ...(values.client === undefined ? {} : { client: values.client }),
    })
    process.stdout.write(`${Object.values(paths).join('\n')}\n`)
    return 0
  } catch (cause) {
    process.stderr.write(`${cause instanceof Error ? cause.message : cause}\n`)
    return 1
  }
}

if (import.meta.main) process.exitCode = main()
