import { type Provider, type ProviderName, providerNames, providers } from './providers.ts'

/**
 * What looks wrong about an issuer, judged by its provider or, without one, by its host. The issuer is compared letter by
 * letter with `iss`, so that a slash at its end makes another one of it.
 * @returns one sentence with what to write instead
 */
export function issuerWarning(issuer: string, named: ProviderName | undefined): string | undefined {
  const provider = named === undefined ? byHost(issuer) : providers[named]
  if (!provider) {
    return issuer.endsWith('/')
      ? 'this issuer ends in "/" and is compared letter by letter with iss: write it just as its tokens have it'
      : undefined
  }
  const { forms, example } = provider.issuer
  const fits = (text: string): boolean => forms.some((form) => form.test(text))
  if (fits(issuer)) return undefined
  const slashed = issuer.endsWith('/')
  const other = slashed ? issuer.slice(0, -1) : `${issuer}/`
  if (fits(other))
    return `${provider.title} writes its issuer ${slashed ? 'without' : 'with'} a "/" at the end, and it is compared letter by letter with iss: write ${other}`
  return `this does not look like an issuer of ${provider.title}: write it just as its tokens have it in iss, such as ${example}`
}

function byHost(issuer: string): Provider | undefined {
  if (!URL.canParse(issuer)) return undefined
  const { hostname } = new URL(issuer)
  const found = providerNames.find((name) => providers[name].issuer.hosts?.test(hostname))
  return found && providers[found]
}
