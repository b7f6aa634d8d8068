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
  const { listen, state, sts } = sections
  return {
    ...draft,
    sections: {
      ...sections,
      ...(listen
        ? {
            listen: Object.fromEntries(
              Object.entries(listen).map(([name, listener]) => [name, listener && { ...listener, tls: files(listener.tls, tls) }]),
            ) as typeof listen,
          }
        : {}),
      state:
        state.kind === 'file'
          ? files(state, ['path'])
          : state.kind === 'redis' && state.tls
            ? { ...state, tls: files(state.tls, tls) }
            : state,
      sts: Object.fromEntries(
        Object.entries(sts).map(([name, endpoint]) => [
          name,
          endpoint.auth.mtls ? { ...endpoint, auth: { ...endpoint.auth, mtls: files(endpoint.auth.mtls, ['cert', 'key']) } } : endpoint,
        ]),
      ),
    },
  }
}

/** Private key files that the settings name, with the setting of each. */
export function privateKeyFiles({ sections }: Draft): { readonly file: string; readonly path: Path }[] {
  const found: { file: string; path: Path }[] = []
  for (const [name, listener] of Object.entries(sections.listen ?? {}))
    if (listener?.tls.key !== undefined) found.push({ file: listener.tls.key, path: ['listen', name, 'tls', 'key'] })
  for (const [name, endpoint] of Object.entries(sections.sts))
    if (endpoint.auth.mtls) found.push({ file: endpoint.auth.mtls.key, path: ['sts', name, 'auth', 'mtls', 'key'] })
  if (sections.state.kind === 'redis' && sections.state.tls?.key !== undefined)
    found.push({ file: sections.state.tls.key, path: ['state', 'redis', 'tls', 'key'] })
  return found
}
