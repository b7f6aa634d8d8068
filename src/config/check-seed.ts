import type { Draft } from './draft.ts'
import type { Report } from './faults.ts'
import { isLoopback, parseAddress } from './schema-listen.ts'

/** Tokens that are printed are for whoever develops on this machine: nobody else may reach what takes them. */
export function checkSeedTokens({ sections: { broker, listen } }: Draft, report: Report): void {
  if (!broker.seed_tokens) return
  const path = ['broker', 'seed_tokens']
  if (!broker.enabled) report(path, 'there is nobody to print tokens for: expected broker.enabled: true', { at: 'key' })
  for (const name of ['admin', 'issuer'] as const) {
    const address = listen?.[name] && parseAddress(listen[name].address)
    if (address && !isLoopback(address))
      report(path, `listen.${name} can be reached from other machines: expected false, for printed tokens are for development alone`)
  }
}
