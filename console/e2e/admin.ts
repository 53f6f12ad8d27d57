/** The admin API, as tests use it to prepare what they look at. */

interface Cookie {
  name: string;
  value: string;
  url: string;
}

export class Admin {
  private constructor(
    private readonly url: string,
    /** The session, for a browser. */
    readonly cookie: Cookie,
  ) {}

  static async signIn(url: string, username: string, password: string): Promise<Admin> {
    const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    const response = await fetch(`${url}/admin/session`, {
      method: 'POST',
      headers: { authorization, 'x-requested-with': 'console' },
    });
    const [, name, value] = /^([^=]+)=([^;]+)/.exec(response.headers.get('set-cookie') ?? '') ?? [];
    if (!name || !value) throw new Error(`Signing in was answered ${response.status}.`);
    return new Admin(url, { name, value, url });
  }

  async send<Answer>(method: string, path: string, body?: object): Promise<Answer> {
    const response = await fetch(this.url + path, {
      method,
      headers: {
        cookie: `${this.cookie.name}=${this.cookie.value}`,
        'x-requested-with': 'console',
        'content-type': 'application/json',
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${text}`);
    return (text ? JSON.parse(text) : null) as Answer;
  }
}
