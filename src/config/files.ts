import { resolve } from 'node:path'
import type { Draft } from './draft.ts'
import type { Path } from './faults.ts'

type Named = Readonly<Record<string, unknown>>

/** The draft with relative files made absolute, from the folder of the policy file. */
export function absoluteFiles(draft: Draft, folder: string): Draft {
  const files = <T extends Named>(object: T, names: readonly string[]): T => ({
    ...object,
    ...Object.fromEntries(names.flatMap((name) => (typeof object[name] === 'string' ? [[name, resolve(folder, object[name])]] : []))),
  })
  const tls = ['cert', 'key', 'ca']
  const { sections } = draft
  const { listen, state, sts, issuer } = sections
  return {
    ...draft,
    identity: draft.identity.map((entry) => {
      if (entry?.type !== 'oidc') return entry
      const { jwks, introspection } = entry
      const mtls = introspection?.auth.mtls
      return {
        ...entry,
        jwks: files(jwks, ['ca']),
        ...(introspection && mtls
          ? { introspection: { ...introspection, auth: { ...introspection.auth, mtls: files(mtls, ['cert', 'key']) } } }
          : {}),
      }
    }),
    sections: {
      ...sections,
      ...(listen
        ? {
            listen: Object.fromEntries(
              Object.entries(listen).map(([name, listener]) => [name, listener && { ...listener, tls: files(listener.tls, tls) }]),
            ) as typeof listen,
          }
        : {}),
      issuer: {
        ...issuer,
        keys: files(issuer.keys, ['file']),
        clients: issuer.clients.map((client) => {
          const { private_key_jwt: assertion } = client.auth
          return assertion ? { ...client, auth: { ...client.auth, private_key_jwt: files(assertion, ['jwks']) } } : client
        }),
        federation: issuer.federation.map((rule) => (rule.jwks ? { ...rule, jwks: files(rule.jwks, ['ca', 'file']) } : rule)),
      },
      state:
        state.kind === 'file'
          ? files(state, ['path'])
          : state.kind === 'redis' && state.tls
            ? { ...state, tls: files(state.tls, tls) }
            : state,
      sts: Object.fromEntries(
        Object.entries(sts).map(([name, endpoint]) => [
          name,
          {
            ...files(endpoint, ['ca']),
            ...(endpoint.auth.mtls && { auth: { ...endpoint.auth, mtls: files(endpoint.auth.mtls, ['cert', 'key']) } }),
          },
        ]),
      ),
      sources: Object.fromEntries(
        Object.entries(sections.sources).map(([name, source]) => [name, source.tls ? { ...source, tls: files(source.tls, tls) } : source]),
      ),
    },
  }
}

/** A PEM file that the settings name, with the setting that does. */
export interface PemFile {
  readonly file: string
  readonly path: Path
  /** Whether it holds a private key. */
  readonly key: boolean
}

/** All PEM files of the settings. */
export function pemFiles({ sections, identity }: Draft): PemFile[] {
  const found: PemFile[] = []
  const add = (files: Named, path: Path): void => {
    for (const name of ['cert', 'key', 'ca']) {
      const file = files[name]
      if (typeof file === 'string') found.push({ file, path: [...path, name], key: name === 'key' })
    }
  }
  for (const [name, listener] of Object.entries(sections.listen ?? {})) if (listener) add(listener.tls, ['listen', name, 'tls'])
  for (const [name, endpoint] of Object.entries(sections.sts)) {
    add(endpoint, ['sts', name])
    add(endpoint.auth.mtls ?? {}, ['sts', name, 'auth', 'mtls'])
  }
  for (const [name, source] of Object.entries(sections.sources)) add(source.tls ?? {}, ['sources', name, 'tls'])
  for (const [i, entry] of identity.entries()) {
    if (entry?.type !== 'oidc') continue
    add(entry.jwks, ['identity', i, 'jwks'])
    add(entry.introspection?.auth.mtls ?? {}, ['identity', i, 'introspection', 'auth', 'mtls'])
  }
  for (const [i, rule] of sections.issuer.federation.entries()) add(rule.jwks ?? {}, ['issuer', 'federation', i, 'jwks'])
  if (sections.state.kind === 'redis') add(sections.state.tls ?? {}, ['state', 'redis', 'tls'])
  return found
}
