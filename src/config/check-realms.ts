import type { Draft } from './draft.ts'
import type { Report } from './faults.ts'
import type { Overrides } from './overrides.ts'

/** What the main file of several realms must leave to each of them. Told alike for each, and so once. */
export function checkRealms({ sections }: Draft, overrides: Overrides, report: Report): void {
  const { listen, issuer } = sections
  const url = listen?.issuer?.url
  if (url !== undefined && !url.replace(/\/$/, '').endsWith('/realms/{realm}'))
    report(['listen', 'issuer', 'url'], 'expected a URL that ends in "/realms/{realm}", as each realm has an issuer of its own')
  if (issuer.keys.file !== undefined && !issuer.keys.file.includes('{realm}'))
    report(['issuer', 'keys', 'file'], 'expected a file with {realm} in its name, as each realm has keys of its own')
  if (overrides.applied.has('realm')) report(['realm'], 'it would be that of every realm: expected no such variable; choose one by --realm')
}
