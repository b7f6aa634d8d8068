import { isEndpointUrl } from '../core/endpoint-url.ts'
import { parseSpiffeId } from '../core/spiffe.ts'
import type { Listeners } from './draft.ts'
import type { Report } from './faults.ts'
import type { Settings } from './schema.ts'
import { isLoopback, parseAddress } from './schema-listen.ts'

type Tls = Settings['listen']['check']['tls']

/** Checks each listener's address against its TLS: whoever reaches a check listener can forge metadata. */
export function checkListen(listen: Listeners, report: Report): void {
  const seen = new Map<string, string>()
  for (const name of ['check', 'ext_proc', 'admin', 'issuer'] as const) {
    const listener = listen[name]
    const address = listener && parseAddress(listener.address)
    if (!listener || !address) continue
    const fromEnvoy = name === 'check' || name === 'ext_proc'
    const path = ['listen', name, 'address']
    const other = seen.get(listener.address)
    if (other !== undefined && !listener.address.endsWith(':0'))
      report(path, `"${listener.address}" is the address of listen.${other} too: expected one of its own`)
    seen.set(listener.address, name)
    checkTls(listener.tls, name, report)
    if (isLoopback(address)) continue
    if (fromEnvoy && !(listener.tls.mode === 'mtls' && listener.tls.allow)) {
      report(
        path,
        `"${listener.address}" can be reached from other machines, and whoever reaches it can forge identities: expected unix:/path, a loopback address, or tls with mode mtls and allow`,
      )
    } else if (!fromEnvoy && listener.tls.mode === 'none') {
      report(path, `"${listener.address}" can be reached from other machines: expected a loopback address, or tls with mode tls or mtls`)
    }
  }
  if (listen.issuer) checkUrl(listen.issuer.url, listen.issuer.address, report)
}

function checkTls(tls: Tls, name: string, report: Report): void {
  const path = ['listen', name, 'tls']
  const needs = { none: [], tls: ['cert', 'key'], mtls: ['cert', 'key', 'ca'] } as const
  for (const file of needs[tls.mode])
    if (tls[file] === undefined) report([...path, file], `"${file}" is missing: expected a PEM file, as the mode is ${tls.mode}`)
  if (tls.mode === 'mtls' && !tls.allow && (name === 'check' || name === 'ext_proc'))
    report([...path, 'allow'], '"allow" is missing: expected the SPIFFE IDs of the Envoys that may ask, as the mode is mtls')
  if (tls.mode !== 'mtls') {
    const without = tls.mode === 'tls' ? (['ca', 'allow'] as const) : (['cert', 'key', 'ca', 'allow'] as const)
    const instead = tls.mode === 'tls' ? 'mtls' : 'tls or mtls'
    for (const key of without)
      if (tls[key] !== undefined)
        report([...path, key], `"${key}" does nothing with mode ${tls.mode}: expected mode ${instead}`, { at: 'key' })
  }
  for (const [i, id] of (tls.allow ?? []).entries())
    if (!parseSpiffeId(id)) report([...path, 'allow', i], `"${id}" is no SPIFFE ID: expected spiffe://<trust domain>/<path>`)
}

function checkUrl(url: string | undefined, address: string, report: Report): void {
  const path = ['listen', 'issuer', 'url']
  if (url === undefined) {
    // Of an address that upstreams could ask at, the URL has been filled in.
    const unix = parseAddress(address)?.kind === 'unix'
    report(
      path,
      unix
        ? '"url" is missing: expected the URL under which this unix socket can be reached'
        : `"url" is missing: expected the URL under which upstreams reach "${address}"`,
    )
    return
  }
  const fault = endpointFault(url)
  if (fault) report(path, fault)
  else if (/[?#]/.test(url)) report(path, 'expected a URL without query and fragment (RFC 8414, section 2)')
}

/** Why a URL is none that tokens or keys may come from: https, or http on loopback. */
export function endpointFault(url: string): string | undefined {
  const expected = `"${url}" is no place for tokens: expected an https URL, or http on loopback`
  if (!URL.canParse(url)) return expected
  const parsed = new URL(url)
  if (parsed.username !== '' || parsed.password !== '') return 'expected a URL without user and password'
  return isEndpointUrl(parsed) ? undefined : expected
}
